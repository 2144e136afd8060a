from __future__ import annotations

from coppice.eventlog import queries, sqlite


class TestQueries:
    def test_every_query_of_the_file_is_found_by_its_name(self) -> None:
        assert sorted(queries.named()) == [
            "ages",
            "append",
            "backlog",
            "consume",
            "consumed",
            "end",
            "find",
            "forget",
            "has_version",
            "integrity",
            "is_foreign",
            "journal",
            "latest",
            "mark",
            "migration_1",
            "migration_2",
            "migration_3",
            "newest",
            "newest_of_type",
            "read",
            "read_local",
            "read_one",
            "read_one_local",
            "readers",
            "receive",
            "record_version",
            "remove",
            "settings_of_connection",
            "unknown_types",
            "used_bytes",
            "version",
        ]

    def test_there_is_a_migration_to_each_schema(self) -> None:
        migrations = {name for name in queries.named() if name.startswith("migration_")}

        assert migrations == {f"migration_{step}" for step in range(1, sqlite.SCHEMA + 1)}

    def test_comments_are_no_part_of_a_query(self) -> None:
        assert not any("--" in body for body in queries.named().values())


def test_the_row_of_values_is_repeated() -> None:
    assert queries.for_rows("INSERT INTO t (a) VALUES (?) ON CONFLICT", 2) == (
        "INSERT INTO t (a) VALUES (?), (?) ON CONFLICT"
    )


def test_a_script_is_split_into_its_statements() -> None:
    assert queries.statements("SELECT 1; SELECT 2;") == ["SELECT 1", " SELECT 2"]
