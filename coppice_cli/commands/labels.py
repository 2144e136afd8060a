"""`coppice labels`: which requests need a label, and telling the server one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from coppice_cli import compose, console, options

if TYPE_CHECKING:
    from coppice import records

app = typer.Typer(no_args_is_help=True, help="See which labels decide most, and give them.")


@app.command()
def wanted(
    folder: options.Project = options.HERE,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many requests.")] = 20,
    as_json: options.Json = False,
) -> None:
    """List the requests whose labels would decide most, first the most decisive."""
    from coppice_cli import client

    tree = compose.settings_of(folder)
    answer = client.get(
        f"{client.monitor_url(tree)}/v1/labels/wanted",
        {"model": tree.project.name, "limit": limit},
        whose="monitor",
    )
    if as_json:
        console.write_json(answer)
        return
    rows = answer["wanted"]
    if not rows:
        console.out().print("No label is wanted now.")
        return
    table = console.table("request", "why", "rows", "age", numbers=("age",))
    for row in rows:
        which = "all" if row["rows"] is None else ", ".join(map(str, row["rows"]))
        age = console.duration(row["age_seconds"])
        table.add_row(console.plain(row["request_id"]), row["reason"], which, age)
    console.out().print(table)


@app.command()
def give(
    request: Annotated[str, typer.Argument(metavar="REQUEST", help="The request's id.")],
    label: Annotated[
        list[str], typer.Argument(metavar="LABEL...", help="Its true label, one for each row.")
    ],
    folder: options.Project = options.HERE,
    as_index: Annotated[
        bool, typer.Option("--index", help="The labels are class indices, not class names.")
    ] = False,
    annotator: Annotated[str, typer.Option(help="Who labelled; stored as a hash.")] = "",
    saw_prediction: Annotated[
        bool, typer.Option("--saw-prediction", help="The annotator knew the model's answer.")
    ] = False,
) -> None:
    """Tell the server the true answer to an earlier request."""
    from coppice_cli import client

    tree = compose.settings_of(folder)
    kind: type[records.Label] = int if as_index else str
    if tree.project.task == "regression":
        kind = float
    body = {
        "request_id": request,
        "labels": [_label(text, kind) for text in label],
        "source": "human",
        "annotator": annotator or compose.actor(),
        "saw_prediction": saw_prediction,
    }
    client.post(f"{client.server_url(tree)}/feedback", body, whose="serve")
    console.out().print(f"kept: {request} is {', '.join(label)}", markup=False, soft_wrap=True)


def _label(text: str, kind: type[records.Label]) -> records.Label:
    try:
        return kind(text)
    except ValueError as cause:
        word = "an index" if kind is int else "a number, which a regression needs"
        message = f"label {text!r} is not {word}"
        raise typer.BadParameter(message) from cause
