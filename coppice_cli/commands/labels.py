"""`coppice labels`: which requests need a label, and telling the server one."""

from __future__ import annotations

from typing import Annotated

import typer

from coppice_cli import compose, console, options

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
    table = console.table(*rows[0])
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console.out().print(table)


@app.command()
def give(
    request: Annotated[str, typer.Argument(metavar="REQUEST", help="The request's id.")],
    label: Annotated[
        list[str], typer.Argument(metavar="LABEL...", help="Its true label, one for each row.")
    ],
    folder: options.Project = options.HERE,
    annotator: Annotated[str, typer.Option(help="Who labelled; stored as a hash.")] = "",
    saw_prediction: Annotated[
        bool, typer.Option("--saw-prediction", help="The annotator knew the model's answer.")
    ] = False,
) -> None:
    """Tell the server the true answer to an earlier request."""
    from coppice_cli import client

    tree = compose.settings_of(folder)
    body = {
        "request_id": request,
        "labels": [_label(text, tree.project.task == "regression") for text in label],
        "source": "human",
        "annotator": annotator or compose.actor(),
        "saw_prediction": saw_prediction,
    }
    client.post(f"{client.server_url(tree)}/feedback", body, whose="serve")
    console.out().print(f"kept: {request} is {', '.join(label)}", markup=False, soft_wrap=True)


def _label(text: str, number: bool) -> str | float:  # noqa: FBT001  (one call, beside it)
    if not number:
        return text
    try:
        return float(text)
    except ValueError as cause:
        message = f"label {text!r} is not a number, which a regression needs"
        raise typer.BadParameter(message) from cause
