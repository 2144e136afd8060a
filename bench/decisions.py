"""Decide canaries, simulated and replayed: how often wrongly, how soon, and with how many labels?

Every contestant sees the same canaries and looks after every 50 requests, to the end of 20,000.
Replayed canaries draw their requests from the answers of real dense and pruned networks.
`--quick` decides few and short canaries, of fewer settings.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).resolve().parents[1]))

import contestants
import kinds
import numpy as np
import report
import variants
from contestants import Floats, Seen

from monitoring import answers, evidence, join, trials

EVERY = 50
REQUESTS, RUNS = 20_000, 2000
QUICK_REQUESTS, QUICK_RUNS = 2000, 40
SEED = 7
REPLAYED = 20
"""Replayed canaries that the monitor's own trial decides too."""

NOTES = """*Wrong* are canaries rolled back, out of 2,000 of each kind, though the candidate is as
good as the champion (*equal*), or loses exactly the margin of 1 point (*at margin*, the hardest
case that is still allowed; rules that know no margin are not meant to pass it). *+1*, *+3* and
*+10* are candidates that lose so many points more than the margin: median requests until rollback /
median labels used by then / canaries not rolled back within 20,000 requests. *harmless* is an equal
candidate: the same figures until promotion; only our rule promotes. *promoted at margin* are wrong
promotions. Everybody looks after every 50 requests.

Settings. *paired, asked*: each request is answered by both versions; ours asks for labels of
disagreements only, in an audit sample of 100% or 10% of the requests; the others label each pair of
the same sample. *paired, natural*: a tenth of the requests is labelled by chance, agreeing ones
too. *split*: half of the requests go to either version, each canary request is paired with a stable
one, and all or a tenth of them are labelled; figures count canary requests.

Simulated: the champion errs on 5%; an equal candidate disagrees on 3% of the requests, half of it
harm; a harmful one gains on 1% and is differently wrong on 0.5%. Replayed: a dense network and its
pruned variants (channels cut by 25% to 75%, recovered for 0 to 6 epochs) answered 1,297 digit scans
once (`bench/variants.py`); requests are drawn from these answers. To lose exactly so many points,
or to differ on exactly 3%, each request takes the answer of one of two neighbouring variants by
chance; for an equal candidate, the roles of champion and candidate are swapped by chance.

Fixed thresholds are set as users write them, at the accepted accuracy minus the margin. An interval
holds 50 labels. Argo Rollouts with `failureLimit: 3` aborts at the fourth failed measurement,
Flagger with `threshold: 10` at the tenth failed check. They notice harm soon because they roll back
every candidate in the end: their columns *equal* and *at margin* say how much that is worth.

The other grids of bets are as sound as ours. Even bets decide as soon where few answers differ, but
need a quarter more pairs where a tenth of them do; ten log-spaced bets decide sooner only where
more than a third differ; six bets without a small one do not decide there at all."""


class Setting(NamedTuple):
    """Which pairs there are, and which of them come to be labelled."""

    name: str
    paired: bool
    asked: bool
    rate: float


SETTINGS = (
    Setting("paired, asked 100%", paired=True, asked=True, rate=1.0),
    Setting("paired, asked 10%", paired=True, asked=True, rate=0.1),
    Setting("paired, natural 10%", paired=True, asked=False, rate=0.1),
    Setting("split, natural 100%", paired=False, asked=False, rate=1.0),
    Setting("split, natural 10%", paired=False, asked=False, rate=0.1),
)


class Size(NamedTuple):
    """How many canaries of each kind, and how long."""

    runs: int
    requests: int


class Canaries(NamedTuple):
    """Many canaries of one kind in one setting."""

    seen: Seen
    disagreements: Floats
    """By each look."""


def draw(rng: np.random.Generator, kind: kinds.Kind, setting: Setting, size: Size) -> Canaries:
    """Draw canaries, cumulated by look."""
    chances = setting.rate * np.array(kind if setting.paired else kind.split())
    shape = (size.runs, size.requests // EVERY)
    drawn = rng.multinomial(EVERY, [*chances, max(0.0, 1.0 - chances.sum())], size=shape)
    harm, gain, right, alike, apart, _ = np.moveaxis(drawn.cumsum(axis=1, dtype=np.float64), 2, 0)
    seen = Seen(harm, gain, right, alike + apart, setting.paired, round(1.0 / setting.rate))
    return Canaries(seen, harm + gain + apart)


class Reached(NamedTuple):
    """When canaries were decided, and with how many labels."""

    requests: float
    """Median; infinite where most were not."""
    labels: float
    missed: float
    """Share that was not decided."""

    def __str__(self) -> str:
        if not np.isfinite(self.requests):
            return f"> {REQUESTS:,} / - / {self.missed:.1%}"
        return f"{self.requests:,.0f} / {self.labels:,.0f} / {self.missed:.1%}"


def reached(acts: contestants.Flags, labels: Floats) -> Reached:
    """Find the first look at which each canary was decided."""
    decided = acts.any(axis=1)
    look = acts.argmax(axis=1)
    requests = np.where(decided, (look + 1.0) * EVERY, np.inf)
    used = np.where(decided, labels[np.arange(len(labels)), look], np.inf)
    return Reached(float(np.median(requests)), float(np.median(used)), 1.0 - float(decided.mean()))


class Figures(NamedTuple):
    """What one contestant does in one setting."""

    source: str
    setting: Setting
    contestant: str
    equal: float
    at_margin: float
    harmful: dict[str, Reached]
    harmless: Reached | None = None
    promoted_at_margin: float | None = None

    def row(self) -> dict[str, Any]:
        """A line of the table."""
        promoted = self.promoted_at_margin
        return {
            "source": self.source,
            "setting": self.setting.name,
            "contestant": self.contestant,
            "wrong, equal": f"{self.equal:.1%}",
            "wrong, at margin": f"{self.at_margin:.1%}",
            **{name: str(found) for name, found in self.harmful.items()},
            "harmless": str(self.harmless or "-"),
            "promoted at margin": "-" if promoted is None else f"{promoted:.1%}",
        }


def measure(source: kinds.Source, setting: Setting, size: Size) -> Iterator[Figures]:
    """Let all contestants decide the same canaries."""
    rng = np.random.default_rng([SEED, SETTINGS.index(setting)])
    equal = draw(rng, source.equal, setting, size)
    edge = draw(rng, source.at_margin, setting, size)
    harmful = {name: draw(rng, kind, setting, size) for name, kind in source.harmful.items()}
    grids = setting.asked and setting.rate == 1.0
    # Fixed thresholds are set to the accuracy of the champion, which is another one here.
    among_equals = contestants.rules(source.equal.accuracy, grids=grids)
    for name, rule in contestants.rules(source.at_margin.accuracy, grids=grids).items():
        ours = name.startswith("ours")
        asks = ours and setting.asked
        figures = Figures(
            source.name,
            setting,
            name,
            equal=float(among_equals[name](equal.seen).any(axis=1).mean()),
            at_margin=float(rule(edge.seen).any(axis=1).mean()),
            harmful={
                key: reached(rule(each.seen), _labels(each, asks=asks))
                for key, each in harmful.items()
            },
        )
        if ours:
            grid = contestants.OTHER_GRIDS.get(name, contestants.OURS)
            promoted = contestants.promoting(equal.seen, grid)
            wrongly = contestants.promoting(edge.seen, grid).any(axis=1).mean()
            harmless = reached(promoted, _labels(equal, asks=asks))
            figures = figures._replace(harmless=harmless, promoted_at_margin=float(wrongly))
        yield figures


def _labels(found: Canaries, *, asks: bool) -> Floats:
    return found.disagreements if asks else found.seen.pairs


def differing_verdicts(found: kinds.Answers, requests: int) -> int:
    """Count canaries that the monitor's own trial decides otherwise than the counts above."""
    rng = np.random.default_rng(SEED)
    return sum(
        _by_trial(found, candidate, rows) != _by_counts(found, candidate, rows)
        for number in range(REPLAYED)
        for candidate in [found.pruned[number % len(found.pruned)]]
        for rows in [rng.integers(len(found.truth), size=requests)]
    )


def _by_trial(
    found: kinds.Answers, candidate: variants.Classes, rows: variants.Classes
) -> list[str]:
    """Give a trial every pair, its truth as soon as it waits for it, and look now and then."""
    pair = join.Pair("dense", "pruned")
    rules = trials.Rules(evidence.Margins(), True, "key", 1.0, 0.01, pending_limit=1000)
    scoring = answers.Scoring("multiclass", tuple("0123456789"), 1.0)
    trial = trials.Trial.start(pair, rules, since=0.0)
    verdicts: list[str] = []
    for number, row in enumerate(rows.tolist(), start=1):
        one, other = (float(found.dense[row]),), (float(candidate[row]),)
        truth = (float(found.truth[row]),)
        fact = join.Paired(str(number), pair, one, other, None, (), fresh=True, seen_at=1.0)
        trial.take(fact, scoring, rules)
        trial.label(str(number), truth, scoring)
        if number % EVERY == 0:
            verdicts.append(trial.decide().kind)
    return verdicts


def _by_counts(
    found: kinds.Answers, candidate: variants.Classes, rows: variants.Classes
) -> list[str]:
    right = (found.dense == found.truth).astype(int) - (candidate == found.truth)
    shown = right[rows].reshape(-1, EVERY)
    harm, gain, tie = (
        (shown == outcome).sum(axis=1).cumsum().astype(float)[None] for outcome in (1, -1, 0)
    )
    seen = Seen(harm, gain, right=tie, wrong=0.0 * tie, paired=True, stride=1)
    back, ahead = contestants.betting(seen)[0], contestants.promoting(seen)[0]
    verdicts = np.where(back, "rollback", np.where(ahead, "promote", "undecided"))
    return [str(kind) for kind in verdicts]


def targets(figures: list[Figures], differing: int) -> list[report.Target]:
    """The bounds that our figures must keep."""
    ours = [each for each in figures if each.contestant == "ours"]
    made = [
        report.Target(f"{what}: {each.source}, {each.setting.name}", value, "<=", contestants.ALPHA)
        for each in ours
        for what, value in (
            ("false rollback", max(each.equal, each.at_margin)),
            ("false promotion", each.promoted_at_margin or 0.0),
        )
    ]
    for each in ours:
        if each.setting.name == "paired, asked 100%" and each.harmless is not None:
            where, harmless = each.source, each.harmless
            made += [
                report.Target(f"{where}: pairs to find +3", each.harmful["+3"].requests, "<=", 600),
                report.Target(f"{where}: pairs to promote", harmless.requests, "<=", 2300),
                report.Target(f"{where}: labels to promote", harmless.labels, "<=", 70),
                report.Target(
                    f"{where}: times fewer labels than labelling every pair",
                    harmless.requests / harmless.labels,
                    ">=",
                    15,
                ),
            ]
    return [*made, report.Target("trials of the monitor that decide otherwise", differing, "<=", 0)]


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few short canaries")
    parser.add_argument("--out", type=Path, default=report.RESULTS, help="folder of the results")
    options = parser.parse_args()
    size = Size(QUICK_RUNS, QUICK_REQUESTS) if options.quick else Size(RUNS, REQUESTS)
    found = kinds.real_answers()
    figures = [
        each
        for source in (kinds.simulated(), kinds.replayed(found))
        for setting in SETTINGS
        for each in measure(source, setting, size)
    ]
    report.Report(
        name="decisions",
        title="Canaries: wrong decisions, and how soon the right ones come",
        rows=[each.row() for each in figures],
        targets=targets(figures, differing_verdicts(found, QUICK_REQUESTS)),
        packages=("numpy", "scipy", "torch", "scikit-learn"),
        notes=NOTES,
    ).write(options.out)


if __name__ == "__main__":
    main()
