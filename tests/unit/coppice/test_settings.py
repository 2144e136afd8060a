from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic
import pytest

from coppice import errors, settings

MINIMAL = {"project": {"name": "digits"}}


def tree(**tables: Any) -> settings.Settings:
    return settings.from_tree(MINIMAL | tables, root=Path("/somewhere"))


def write(folder: Path, text: str) -> Path:
    (folder / settings.FILE).write_text(text, encoding="utf-8")
    return folder


def test_every_default_is_a_promise() -> None:
    assert tree().model_dump(exclude={"root"}) == {
        "project": {
            "name": "digits",
            "module": "project",
            "task": "multiclass",
            "checkpoint": None,
            "scale": 1.0,
            "seed": 0,
        },
        "store": {
            "home": Path(".coppice"),
            "registry": "bento",
            "folder": None,
            "bucket": "",
            "prefix": "",
            "endpoint": "",
            "region": "us-east-1",
            "ca_file": None,
            "timeout_seconds": 20.0,
            "cache_bytes": 20_000_000_000,
        },
        "train": {
            "epochs": 20,
            "batch_size": 64,
            "learning_rate": 2e-3,
            "weight_decay": 1e-2,
            "threads": 1,
        },
        "prune": {
            "level": "neuron",
            "criterion": "magnitude",
            "amount": 0.5,
            "amounts": {},
            "scope": "local",
            "align": 8,
            "inside": "heads",
            "pattern": "unstructured",
            "then": (),
            "schedule": "one-shot",
            "rounds": 3,
            "round_epochs": 1,
            "sparse_epochs": 1,
            "sparse_strength": 1e-4,
            "batch_norm_rows": 2048,
            "finetune_epochs": 10,
            "learning_rate": 1e-3,
            "distill_weight": 0.7,
            "temperature": 4.0,
            "precision": "fp32",
        },
        "pack": {
            "precision": "fp32",
            "engines": ("onnxruntime",),
            "calibration_rows": 512,
            "max_drop": 0.002,
            "min_gain": 1.1,
            "batch_rows": 1,
        },
        "search": {
            "target": "latency",
            "blocks": True,
            "max_drop": 0.005,
            "max_slice_drop": 0.05,
            "batch_rows": 1,
            "structures": 120,
            "sensitivity_rows": 1000,
            "probe_epochs": 2,
            "probe_rows": 10_000,
            "minutes": None,
        },
        "gates": {
            "max_score_drop": 0.01,
            "max_slice_drop": 0.05,
            "min_slice_rows": 30,
            "min_latency_gain": 1.0,
            "min_score": 0.0,
            "confidence": 0.95,
            "max_robustness_drop": 0.05,
            "max_membership_auc_rise": 0.05,
            "max_fairness_gap_rise": 0.05,
            "max_label_issue_share": 0.1,
            "max_leaked_share": 0.01,
            "min_independent_label_share": 0.2,
            "require": (),
        },
        "inspect": {
            "sections": (
                "metrics",
                "slices",
                "fairness",
                "exemplars",
                "ablation",
                "attribution",
                "robustness",
                "privacy",
                "data",
                "labels",
                "provenance",
                "poisoning",
                "cost",
            ),
            "skip": (),
            "budget_seconds": 300.0,
            "draws": 1000,
            "sensitive": (),
            "found_slice_rows": 20,
            "exemplars": 20,
            "exemplar_seeds": 0,
            "section_gigamacs": 400.0,
            "picture_attacks": (0.01, 0.03),
            "table_attacks": (0.1, 0.3),
            "attack_steps": 10,
            "inversion": False,
            "label_folds": 0,
            "price_per_core_hour": 0.0,
        },
        "serve": {
            "host": "127.0.0.1",
            "port": 3000,
            "grpc_port": None,
            "workers": 1,
            "threads": 1,
            "max_body_bytes": 16 * 2**20,
            "max_pending_bytes": 256 * 2**20,
            "max_batch_rows": 64,
            "max_queue": 512,
            "deadline_seconds": 10.0,
            "candidate_timeout_seconds": 1.0,
            "latency_objective_seconds": None,
            "crash_guard": 5,
            "shadow_queue": 256,
            "allow_forced_lane": False,
            "routing_file": None,
            "initial": "",
            "routing_key_secret": pydantic.SecretStr("coppice"),
        },
        "events": {
            "backend": "sqlite",
            "durability": "process",
            "capture": {},
            "retention_days": None,
            "retention_bytes": None,
            "cap_bytes": None,
            "when_full": "refuse",
        },
        "kafka": {
            "servers": "",
            "prefix": "",
            "client_id": "coppice",
            "api_version": "2.3",
            "deadline_seconds": 30.0,
            "partitions": 6,
            "replication": 3,
            "min_insync": 2,
            "tls": False,
            "tls_ca_file": None,
            "tls_cert_file": None,
            "tls_key_file": None,
            "tls_check_hostname": True,
            "sasl_mechanism": None,
            "sasl_username": "",
            "sasl_password": pydantic.SecretStr(""),
            "relay_metrics_port": 0,
            "follow_metrics_port": 0,
        },
        "evidence": {
            "mode": "asked",
            "alpha": 0.05,
            "promote_margin": 0.01,
            "rollback_margin": None,
            "audit_rate": 1.0,
            "max_pending": 50,
            "label_patience_seconds": 86_400.0,
            "live_rate": 0.02,
            "max_error_rate": 0.01,
            "max_slow_rate": 0.05,
        },
        "drift": {
            "method": "ks",
            "window": 400,
            "false_alarm_rate": 0.01,
            "calibration_windows": 200,
            "sustained": 2,
            "slices": 4,
            "label_window": 200,
        },
        "decay": {
            "tolerance": 0.05,
            "false_alarm_labels": 10_000,
            "window": 400,
            "min_labels": 60,
            "alpha": 0.05,
        },
        "monitor": {
            "host": "127.0.0.1",
            "port": 3001,
            "poll_seconds": 0.5,
            "join_limit": 50_000,
            "slice_limit": 20,
            "reports_kept": 20,
            "report_days": 30.0,
            "group": "",
            "group_folder": None,
            "group_grace_seconds": 2.0,
            "group_patience_seconds": 60.0,
        },
        "metrics": {"host": "127.0.0.1"},
        "retrain": {
            "enabled": True,
            "cooldown_seconds": 3600.0,
            "budget_per_day": 4,
            "min_labels": 200,
            "max_production_rows": 20_000,
            "holdback": 0.25,
            "milder": 0.5,
            "poll_seconds": 1.0,
            "metrics_port": 0,
        },
        "rollout": {
            "backend": "local",
            "auto": True,
            "mirror": 1.0,
            "parent_mirror": 0.05,
            "steps": (0.1, 0.5),
            "step_seconds": 60.0,
            "step_requests": 100,
            "shadow_seconds": 86_400.0,
            "watch_seconds": 600.0,
            "poll_seconds": 0.5,
            "metrics_port": 0,
            "host": "127.0.0.1",
            "port": 0,
            "token": pydantic.SecretStr(""),
            "token_file": None,
            "alerts": "note",
        },
        "cluster": {
            "kubeconfig": None,
            "namespace": "",
            "workload": "",
            "template": "",
            "write_back": "cluster",
            "candidate": "",
            "tend_seconds": 30.0,
            "lease": "",
            "lease_seconds": 15.0,
        },
    }


def test_every_setting_says_what_it_is() -> None:
    silent = [
        f"{section}.{name}"
        for section, info in settings.Settings.model_fields.items()
        if isinstance(info.annotation, type) and issubclass(info.annotation, settings.Section)
        for name, field in info.annotation.model_fields.items()
        if not field.description
    ]

    assert silent == []


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        tree().serve.port = 1  # type: ignore[misc]


class TestPlaces:
    def test_all_state_lies_below_the_home_folder(self) -> None:
        paths = tree(store={"home": "state"})

        assert paths.home == Path("/somewhere/state")
        assert paths.log_path == Path("/somewhere/state/events.sqlite")
        assert paths.outbox_path == paths.log_path
        assert paths.routing_path == Path("/somewhere/state/routing.json")
        assert paths.registry_path == Path("/somewhere/state/bentoml")

    def test_with_kafka_the_servers_outbox_is_a_file_of_its_own(self) -> None:
        paths = tree(events={"backend": "kafka"}, kafka={"servers": "k:1"})

        assert paths.log_path == Path("/somewhere/.coppice/events.sqlite")
        assert paths.outbox_path == Path("/somewhere/.coppice/outbox.sqlite")

    def test_a_routing_file_lies_beside_the_settings_or_where_it_says(self) -> None:
        beside = tree(serve={"routing_file": "routing/routing.json"})
        elsewhere = tree(serve={"routing_file": "/etc/coppice/routing.json"})

        assert beside.routing_path == Path("/somewhere/routing/routing.json")
        assert elsewhere.routing_path == Path("/etc/coppice/routing.json")

    @pytest.mark.parametrize("initial", ["digits", "digits:", "a:b:c", "a b:c"])
    def test_an_initial_version_needs_a_name_and_an_id(self, initial: str) -> None:
        with pytest.raises(errors.SettingsError, match="initial"):
            tree(serve={"initial": initial})

    def test_an_absolute_home_stays_where_it_is(self) -> None:
        assert tree(store={"home": "/elsewhere"}).home == Path("/elsewhere")

    def test_a_tilde_is_the_users_home(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/users/ada")

        assert tree(store={"home": "~/state"}).home == Path("/users/ada/state")


class TestFile:
    def test_tables_and_keys_are_read(self, tmp_path: Path) -> None:
        folder = write(tmp_path, '[project]\nname = "digits"\n[serve]\nport = 8080\n')

        read = settings.load(folder)

        assert (read.project.name, read.serve.port, read.root) == ("digits", 8080, tmp_path)

    def test_without_a_file_it_says_how_to_make_one(self, tmp_path: Path) -> None:
        with pytest.raises(errors.SettingsError, match=r"`coppice init .*` makes one"):
            settings.load(tmp_path)

    @pytest.mark.parametrize("text", ["[project", "name = ", "\udcff"])
    def test_what_is_not_toml_is_refused(self, tmp_path: Path, text: str) -> None:
        (tmp_path / settings.FILE).write_bytes(text.encode("utf-8", "surrogateescape"))

        with pytest.raises(errors.SettingsError, match="is not valid TOML"):
            settings.load(tmp_path)

    def test_a_typo_in_a_key_names_the_nearest(self, tmp_path: Path) -> None:
        folder = write(tmp_path, '[project]\nname = "digits"\n[serve]\nprot = 1\n')

        with pytest.raises(errors.SettingsError, match=r"serve\.prot: .*did you mean 'port'"):
            settings.load(folder)

    def test_every_finding_is_told_at_once(self, tmp_path: Path) -> None:
        folder = write(tmp_path, "[project]\nname = 3\n[serve]\nport = 0\n[rollot]\n")

        with pytest.raises(errors.SettingsError) as refusal:
            settings.load(folder)
        message = str(refusal.value)
        assert "project.name" in message
        assert "serve.port" in message
        assert "did you mean 'rollout'?" in message

    def test_a_missing_name_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(errors.SettingsError, match="project: is missing"):
            settings.load(write(tmp_path, "[serve]\nrouting_key_secret = 'hush'\n"))

    def test_what_is_said_of_a_missing_name_shows_no_secret(self, tmp_path: Path) -> None:
        with pytest.raises(errors.SettingsError) as refusal:
            settings.load(write(tmp_path, "[serve]\nrouting_key_secret = 'hush'\n"))
        assert "hush" not in str(refusal.value)

    @pytest.mark.parametrize("key", ["root", "_env_prefix", "_case_sensitive"])
    def test_keys_that_are_not_for_the_file_are_refused(self, tmp_path: Path, key: str) -> None:
        with pytest.raises(errors.SettingsError, match=f"'{key}' cannot be set in the file"):
            settings.load(write(tmp_path, f"{key} = 'x'\n[project]\nname = 'digits'\n"))


class TestEnvironment:
    def test_it_wins_over_the_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COPPICE_SERVE__PORT", "8080")

        read = tree(serve={"port": 4000, "host": "0.0.0.0"})

        assert (read.serve.port, read.serve.host) == (8080, "0.0.0.0")

    def test_lists_are_json(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COPPICE_ROLLOUT__STEPS", "[0.2, 1.0]")

        assert tree().rollout.steps == (0.2, 1.0)

    def test_a_list_that_is_not_json_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COPPICE_ROLLOUT__STEPS", "[0.2")

        with pytest.raises(errors.SettingsError, match="write lists as JSON"):
            tree()

    def test_a_value_that_is_not_allowed_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COPPICE_SERVE__PORT", "abc")

        with pytest.raises(errors.SettingsError, match=r"serve\.port: .*'abc'"):
            tree()

    def test_a_field_of_the_users_own_can_be_captured(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COPPICE_EVENTS__CAPTURE__SSN", "drop")

        assert tree().events.capture == {"ssn": "drop"}
        assert settings.environment_typos() == []

    @pytest.mark.parametrize("name", ["COPPICE_PROJECT", "COPPICE_ROOT", "COPPICE_SERVE"])
    def test_variables_without_two_underscores_set_nothing(
        self, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setenv(name, "/another/folder")

        assert tree() == settings.from_tree(MINIMAL, root=Path("/somewhere"))
        assert tree().root == Path("/somewhere")

    def test_a_typo_names_the_nearest_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COPPICE_SERVE__PRT", "1")

        assert settings.environment_typos() == [
            "COPPICE_SERVE__PRT is not a setting; did you mean 'COPPICE_SERVE__PORT'?"
        ]


class TestValues:
    @pytest.mark.parametrize("name", ["digits", "a", "a-b_c9", "9lives", "a" * 63])
    def test_names_that_fit_tags_and_urls_are_taken(self, name: str) -> None:
        assert tree(project={"name": name}).project.name == name

    @pytest.mark.parametrize("name", ["", "Digits", "a b", "-a", "a-", "a/b", "ä", "a" * 64])
    def test_other_names_are_refused(self, name: str) -> None:
        with pytest.raises(errors.SettingsError, match=r"project\.name"):
            tree(project={"name": name})

    @pytest.mark.parametrize("steps", [[0.5, 0.1], [0.1, 0.1], [0.0, 0.5], [0.5, 1.1]])
    def test_canary_steps_that_do_not_grow_are_refused(self, steps: list[float]) -> None:
        with pytest.raises(errors.SettingsError, match="must grow strictly"):
            tree(rollout={"steps": steps})

    @pytest.mark.parametrize("steps", [[], [1.0], [0.01, 0.5, 1.0]])
    def test_canary_steps_that_grow_are_taken(self, steps: list[float]) -> None:
        assert tree(rollout={"steps": steps}).rollout.steps == tuple(steps)

    def test_one_fold_would_leave_nothing_to_train_on(self) -> None:
        with pytest.raises(errors.SettingsError, match="label_folds must be 0, or at least 2"):
            tree(inspect={"label_folds": 1})

    def test_a_rollback_margin_above_the_promote_margin_is_refused(self) -> None:
        with pytest.raises(errors.SettingsError, match="must not exceed promote_margin"):
            tree(evidence={"promote_margin": 0.01, "rollback_margin": 0.02})

    def test_equal_margins_are_taken(self) -> None:
        evidence = {"promote_margin": 0.02, "rollback_margin": 0.02}

        assert tree(evidence=evidence).evidence.rollback_margin == 0.02

    @pytest.mark.parametrize(
        ("table", "field", "value"),
        [
            ("serve", "port", 0),
            ("serve", "port", 65_536),
            ("serve", "workers", 0),
            ("prune", "amount", 0.0),
            ("prune", "amount", 1.0),
            ("evidence", "alpha", 0.0),
            ("evidence", "audit_rate", 0.0),
            ("drift", "method", "auto"),
            ("events", "backend", "redis"),
            ("rollout", "mirror", 1.5),
        ],
    )
    def test_values_out_of_their_range_are_refused(
        self, table: str, field: str, value: object
    ) -> None:
        with pytest.raises(errors.SettingsError, match=rf"{table}\.{field}"):
            tree(**{table: {field: value}})

    def test_a_secret_is_not_printed(self) -> None:
        assert "hush" not in repr(tree(serve={"routing_key_secret": "hush"}))


class TestKafka:
    def test_servers_are_told_apart(self) -> None:
        read = tree(kafka={"servers": "a:9092, b.example:19092,[::1]:1"})

        assert read.kafka.addresses == ("a:9092", "b.example:19092", "[::1]:1")

    def test_servers_come_from_the_environment_as_kafka_writes_them(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COPPICE_EVENTS__BACKEND", "kafka")
        monkeypatch.setenv("COPPICE_KAFKA__SERVERS", "a:1,b:2")

        assert tree().kafka.addresses == ("a:1", "b:2")

    @pytest.mark.parametrize("servers", ["a", "a:", "a:b", "http://a:1", "a:1;b:2", '["a:1"]'])
    def test_what_is_no_address_is_named(self, servers: str) -> None:
        with pytest.raises(errors.SettingsError, match=r"kafka\.servers: .*is no `host:port`"):
            tree(kafka={"servers": servers})

    def test_kafka_without_servers_is_refused(self) -> None:
        with pytest.raises(
            errors.SettingsError, match=r"kafka\.servers is empty; name the brokers"
        ):
            tree(events={"backend": "kafka"})

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ({"tls_ca_file": "ca.pem"}, "need tls = true"),
            ({"tls": True, "tls_cert_file": "own.pem"}, "belong together"),
            ({"tls": True, "tls_key_file": "own.key"}, "belong together"),
            ({"sasl_password": "hunter2"}, "need a sasl_mechanism"),
            ({"sasl_username": "ada"}, "need a sasl_mechanism"),
            ({"sasl_mechanism": "PLAIN"}, "needs sasl_username and sasl_password"),
            (
                {"sasl_mechanism": "PLAIN", "sasl_password": "hunter2"},
                "needs sasl_username and sasl_password",
            ),
            ({"replication": 1}, r"min_insync \(2\) must not exceed replication \(1\)"),
            ({"api_version": "new"}, "api_version"),
            ({"prefix": "a/b"}, "prefix"),
        ],
    )
    def test_what_does_not_fit_together_is_refused(
        self, table: dict[str, object], message: str
    ) -> None:
        with pytest.raises(errors.SettingsError, match=message) as refusal:
            tree(kafka=table)
        assert "hunter2" not in str(refusal.value)

    @pytest.mark.parametrize("password", [["hunter2"], {"x": "hunter2"}])
    def test_a_password_of_the_wrong_type_is_not_shown(self, password: object) -> None:
        with pytest.raises(errors.SettingsError) as refusal:
            tree(kafka={"sasl_password": password})
        assert "hunter2" not in str(refusal.value)

    def test_a_password_is_not_printed(self) -> None:
        sasl = {"sasl_mechanism": "PLAIN", "sasl_username": "a", "sasl_password": "hunter2"}

        assert "hunter2" not in repr(tree(kafka=sasl))


@pytest.mark.parametrize(
    ("threads", "workers", "given"),
    # Eight cores: what is asked for, else the share of each worker, and never none.
    [(1, 1, 1), (3, 4, 3), (0, 1, 8), (0, 2, 4), (0, 3, 2), (0, 9, 1)],
)
def test_a_model_gets_the_threads_that_are_asked_for_or_its_share_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, threads: int, workers: int, given: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    serve = tree(serve={"threads": threads, "workers": workers}).serve
    assert serve.model_threads == given
