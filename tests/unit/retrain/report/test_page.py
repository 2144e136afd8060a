from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from retrain import packing
from retrain.evaluate import evaluation, section
from retrain.report import page, prunings
from tests.support import cards

ROOT = Path(__file__).parents[4]
VOID = frozenset({"meta", "link", "img", "br", "path", "use"})


class Reader(HTMLParser):
    """Keeps what the tests ask for: every start tag, and which tags are left open."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    return reader


@pytest.fixture(scope="module")
def text() -> str:
    return page.render(cards.harmful(), "tiny:bad456")


def test_the_verdict_stands_before_everything_else(text: str) -> None:
    body = text[text.index("<body>") :]
    assert body.index("must not be rolled out") < body.index("What got worse")
    assert body.index("What got worse") < body.index('id="gates"') < body.index('id="standards"')


def test_every_tag_is_closed_and_every_id_is_unique(text: str) -> None:
    reader = read(text)
    assert reader.open == []
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_link_inside_the_page_leads_somewhere(text: str) -> None:
    reader = read(text)
    ids = {attributes.get("id") for _, attributes in reader.tags}
    targets = {a["href"] for tag, a in reader.tags if tag == "a"}
    assert targets
    assert {str(target).removeprefix("#") for target in targets} <= ids


def test_nothing_is_fetched_from_anywhere(text: str) -> None:
    loaded = re.findall(r'(?:src|href)="([^"]*)"', text) + re.findall(r"url\(([^)]*)\)", text)
    assert {one.partition(":")[0] for one in loaded if not one.startswith("#")} <= {"data"}
    assert "default-src 'none'" in text
    assert "<script" not in text


def test_it_can_be_read_by_those_who_do_not_see_it(text: str) -> None:
    reader = read(text)
    assert ("html", {"lang": "en"}) in reader.tags
    assert all(attributes.get("alt") for tag, attributes in reader.tags if tag == "img")
    assert all(attributes.get("aria-label") for tag, attributes in reader.tags if tag == "svg")
    assert all("scope" in attributes for tag, attributes in reader.tags if tag == "th")


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("name", ["ink", "soft", "good", "bad", "warn"])
def test_colours_of_texts_stand_out_from_the_paper(text: str, name: str) -> None:
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", text))
    contrast = (luminance(colours["paper"]) + 0.05) / (luminance(colours[name]) + 0.05)
    # WCAG 2.2, success criterion 1.4.3, level AA.
    assert contrast >= 4.5


def test_texts_of_the_card_cannot_become_markup() -> None:
    evil = msgspec.structs.replace(
        cards.ROBUSTNESS,
        sentence="<script>alert(1)</script>",
        tables=(section.Table(title="<b>", columns=("<i>",), rows=(("<u>",),)),),
    )
    text = page.render(cards.harmless(sections={"robustness": evil}), "tiny:<abc>")
    assert "<script>" not in text
    assert {"<b>", "<i>", "<u>", "<abc>"} & set(re.findall(r"<\w+>", text)) == set()
    assert "&lt;script&gt;alert(1)" in text


def test_long_tables_are_folded_and_short_ones_are_not() -> None:
    long, short = (
        section.Table(title=title, columns=("n",), rows=tuple((row,) for row in range(count)))
        for title, count in (("Long", page.LONG_TABLE + 1), ("Short", page.LONG_TABLE))
    )
    found = msgspec.structs.replace(cards.ROBUSTNESS, tables=(long, short))
    text = page.render(cards.harmless(sections={"robustness": found}), "tiny:a")
    assert "<summary>Long (16 rows)</summary>" in text
    assert "<summary>Short" not in text


def test_columns_of_numbers_are_aligned_right() -> None:
    table = section.Table(
        title="", columns=("name", "a", "b"), rows=(("x", 1.0, "y"), ("z", None, 2))
    )
    assert page.numeric(table) == (1,)


def test_names_that_are_sentences_get_room() -> None:
    table = section.Table(
        title="Found", columns=("subset", "n"), rows=(("contrast of pixels up to 0.3559", 1),)
    )
    found = msgspec.structs.replace(cards.ROBUSTNESS, tables=(table,))
    assert '<table class="wordy">' in page.render(cards.harmless(sections={"x": found}), "tiny:a")


def test_a_picture_much_wider_than_high_takes_two_places() -> None:
    assert page.broad(((0.0, 1.0, 0.5), (0.0, 1.0, 0.5))) is False
    assert page.broad(((0.0, 1.0, 0.5, 0.2), (0.0, 1.0, 0.5, 0.2)))
    assert page.broad(()) is False


def test_every_section_shows_what_it_has(text: str) -> None:
    assert "Score by budget" in text
    assert "PGD &lt;2/255&gt;" in text
    assert 'alt="8, taken for 3"' in text
    assert "<dt>city</dt><dd>Ulm</dd>" in text
    assert "<strong>Fairness</strong>: Not measured: install coppice[audit]." in text


def test_answers_of_a_regression_lie_a_distance_apart(text: str) -> None:
    table = cards.table()
    columns = {name: {**figures, "mae": 0.4} for name, figures in table.columns.items()}
    judged = evaluation.Evaluation(holdout=msgspec.structs.replace(table, columns=columns))
    values = page.render(cards.card_of(judged), "tiny:values")
    assert ">distance / scale</th>" in values
    assert ">differ</th>" not in values
    assert ">differ</th>" in text


def test_a_card_of_the_first_schema_has_a_page_too() -> None:
    old = cards.harmless(sections={}, gates=(), schema=1)
    text = page.render(old, "tiny:old")
    assert "may be rolled out" in text
    assert 'id="gates"' not in text


def test_the_same_card_gives_the_same_page(text: str) -> None:
    assert page.render(cards.harmful(), "tiny:bad456") == text


def test_writing_a_page_needs_no_torch() -> None:
    program = (
        "import sys\nfrom tests.support import cards\nfrom retrain.report import page\n"
        "page.render(cards.harmless(), 'tiny:a')\nassert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_else_was_tried_to_serve_it_stands_with_the_reasons() -> None:
    plain = packing.Tried(
        engine="onnxruntime", precision="fp32", taken=True, reason="nothing else holds"
    )
    int8 = packing.Tried(engine="onnxruntime", precision="int8", reason="it loses <too> much")
    tried = packing.Packing(asked="int8", rows=300, batch_rows=1, tried=(plain, int8))
    made = msgspec.structs.replace(cards.harmful(), packing=tried)
    shown = page.render(made, "tiny:bad456")
    assert 'href="#serves"' in shown
    assert "<p>onnxruntime fp32: nothing else holds.</p>" in shown
    assert "it loses &lt;too&gt; much" in shown


def test_a_version_for_which_nothing_else_was_tried_has_no_such_part(text: str) -> None:
    assert 'id="serves"' not in text


CUT = prunings.Cut(
    groups=(prunings.Width("stem", 48, 24), prunings.Width("fc", 64, 64)),
    removed=(prunings.Removed("blocks.<2>"),),
    masks=(prunings.Masked("fc.weight", 32, 128, "2:4"),),
    whole=(prunings.Whole("mix", "it is read in an order that cannot be followed"),),
)


def test_what_was_cut_is_drawn_and_told() -> None:
    found = page.render(cards.harmless(), "tiny:a", CUT)
    assert "50% of the channels by magnitude; 10 epochs of recovery" in found
    assert "stem: 48 before, 24 after; fc: 64 before, 64 after" in found
    assert "blocks.&lt;2&gt;" in found
    assert "it is read in an order that cannot be followed" in found
    (row,) = re.findall(r"<tr><th scope=\"row\">fc.weight</th>.*?</tr>", found)
    assert re.findall(r">([^<>]+)</td>", row) == ["32", "128", "0.25", "2:4"]
    assert read(found).open == []


def test_a_page_without_a_record_of_the_cut_leaves_it_out(text: str) -> None:
    assert "What was cut" not in text
