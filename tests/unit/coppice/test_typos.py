from __future__ import annotations

import pydantic
import pytest

from coppice import typos


class Serve(pydantic.BaseModel, extra="forbid"):
    port: int = 1
    routing_secret: int = 1


class Tree(pydantic.BaseModel, extra="forbid"):
    root: str = "."
    serve: Serve = Serve()
    events: dict[str, str] = {}


def finding(**tree: object) -> str:
    with pytest.raises(pydantic.ValidationError) as refusal:
        Tree.model_validate(tree)
    return typos.explain(refusal.value.errors()[0], Tree)


class TestExplain:
    def test_an_unknown_key_names_the_nearest(self) -> None:
        assert finding(serve={"prot": 1}) == "serve.prot: no such setting; did you mean 'port'?"

    def test_an_unknown_table_names_the_nearest(self) -> None:
        assert finding(sevre={}) == "sevre: no such setting; did you mean 'serve'?"

    def test_a_key_unlike_any_lists_all_but_the_root(self) -> None:
        assert finding(zzz=1) == "zzz: no such setting; known: events, serve"

    def test_a_wrong_value_is_shown(self) -> None:
        assert finding(serve={"port": "abc"}).endswith("(got 'abc')")

    def test_a_long_value_is_cut(self) -> None:
        assert len(finding(serve={"port": "x" * 10_000})) < 250

    def test_a_secret_is_not_shown(self) -> None:
        assert "hunter2" not in finding(serve={"routing_secret": "hunter2"})

    def test_a_table_is_not_shown_because_a_secret_may_be_in_it(self) -> None:
        assert "hunter2" not in finding(serve={"routing_secret": {"hunter2": 1}})
        assert "hunter2" not in finding(root={"password": "hunter2"})


class TestVariables:
    @pytest.mark.parametrize(
        "name", ["COPPICE_SERVE__PORT", "coppice_serve__port", "COPPICE_PROJECT", "PATH", "X__Y"]
    )
    def test_settings_and_other_variables_are_no_typos(self, name: str) -> None:
        assert typos.variables([name], Tree, free="COPPICE_EVENTS__") == []

    @pytest.mark.parametrize("name", ["COPPICE_SERVE__PROT", "COPPICE_SERVE_PORT"])
    def test_a_typo_names_the_nearest(self, name: str) -> None:
        assert typos.variables([name], Tree, free="COPPICE_EVENTS__") == [
            f"{name} is not a setting; did you mean 'COPPICE_SERVE__PORT'?"
        ]

    def test_names_that_the_user_chooses_are_free(self) -> None:
        assert typos.variables(["COPPICE_EVENTS__SSN"], Tree, free="COPPICE_EVENTS__") == []
