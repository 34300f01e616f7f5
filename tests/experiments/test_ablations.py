"""Changes of the method compared on held-out clips: effects, yardsticks and what they foretell."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from support.records import ATrial, a_record

from ddllib.errors import DDLError
from ddllib.experiments.ablations import (
    effect_table,
    effects,
    ends_alike,
    judged_alike,
    most_seeds,
    multiplicity,
    one_seed_sentence,
    other_boxes,
    seed_spread,
    what_matters,
)
from ddllib.experiments.by_epochs import auc_by_epochs, why_it_helps
from ddllib.experiments.by_kind import below_chance, effect_by_kind, kinds_table, paired_table
from ddllib.experiments.by_size import effect_by_size, where_it_helps
from ddllib.experiments.foretelling import foretelling, foretold, of_judge, rank_bounds
from ddllib.experiments.spread import pooled
from ddllib.figures import auc_plots
from ddllib.pseudo_anomalies.held_out import EASIER, KINDS, PAIRED, SINGLE
from ddllib.settings import load_profile

PAIRS = [(0.6, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 0.88)]  # held-out, test


def trials():
    unchanged_runs = [
        ATrial("as it is", load_profile("tiny", seed=s), a_record(0, s, held_out=0.8 + s / 100))
        for s in (0, 1, 2)
    ]
    norms = [
        ATrial("norms", load_profile("tiny", seed=s), a_record(0, s, held_out=v))
        for s, v in ((0, 0.7), (1, 0.72))
    ]
    return [*unchanged_runs, *norms, ATrial("wide", load_profile("tiny"), None)]


def test_effects_are_paired_with_the_unchanged_variant():
    rows = effect_table(trials(), "median", "as it is").set_index("variant")
    assert rows.loc["as it is", "held-out AUC"] == "81.00 ± 1.00 (3 seeds)"
    assert rows.loc["as it is", "mean, points"] == "–"
    assert rows.loc["norms", "mean, points"] == "-9.50"  # -10 and -9
    assert rows.loc["norms", "seeds"] == "2"
    assert rows.loc["wide", "held-out AUC"] == "not run" and rows.loc["wide", "seeds"] == "–"
    once = [*trials()[:4], ATrial("wide", load_profile("tiny"), a_record(0, held_out=0.75))]
    rows = effect_table(once, "median", "as it is").set_index("variant")
    answers = rows["more than chance"]  # -10 and -5 points, the yardstick is 6.08
    assert (answers["norms"], answers["wide"]) == ("yes", "no")
    reverse = effect_table(trials()[::-1], "median", "as it is")
    assert list(reverse["variant"]) == ["norms", "as it is", "wide"]


def test_two_changes_are_held_to_the_first_of_them():
    changes = {"large": {"size": 64}, "large, plain": {"size": 64, "mode": "none"}}
    changes |= {
        "plain": {"mode": "none"},
        "fine": {"patch": 1},
        "large, fine": {"size": 64, "patch": 1},
    }
    runs = trials()[:3] + [
        ATrial(name, load_profile("tiny", **change), a_record(0, held_out=0.5 + k / 100))
        for k, (name, change) in enumerate(changes.items())
    ]
    rows = effect_table(runs, "median", "as it is").set_index("variant")
    assert dict(rows["against"][1:]) == {
        "large": "as it is",
        "large, plain": "large",
        "plain": "as it is",
        "fine": "as it is",
        "large, fine": "large",
    }
    assert rows.loc["large, plain", "mean, points"] == "+1.00"
    answers = rows["more than chance"]
    assert (answers["large"], answers["large, plain"]) == ("yes", "no")
    assert "too few" in answers["fine"] and "too few" in answers["large, fine"]  # the same weights


def test_what_a_first_seed_told_is_checked_by_the_others():
    def change(name, *differences):
        return [
            ATrial(name, load_profile("tiny", seed=s), a_record(0, s, held_out=0.8 + s / 100 + d))
            for s, d in enumerate(differences)
        ]

    usual = trials()[:3]
    sentence = one_seed_sentence([*usual, *change("once", 0.2)], "median", "as it is")
    assert sentence == "no change has a second seed to check its first by"
    bare = [ATrial(t.variant, t.settings, None) for t in usual]
    assert one_seed_sentence(bare, "median", "as it is") == sentence
    several = change("luck", 0.2, 0.02, 0.1) + change("true", 0.15, 0.16, 0.15)
    several += change("small", 0.01, 0.011, 0.01) + change("none", 0.01, -0.01, 0)
    sentence = one_seed_sentence([*usual, *several], "median", "as it is")
    assert "2 of 4 changes" in sentence and "(luck, true)" in sentence
    assert "1 of them still did" in sentence and sentence.endswith(": small")
    sentence = one_seed_sentence([*usual, *change("none", 0.01, -0.01, 0)], "median", "as it is")
    assert "none of 1 changes" in sentence and sentence.endswith(": no other")


def test_a_variant_of_one_seed_is_compared_with_the_spread_of_the_unchanged():
    runs = trials()[:4]  # norms with one seed
    sentence = seed_spread(runs, "median", "as it is")
    assert "pooled" in sentence and "is 1.00 (" in sentence
    assert "must exceed 6.08 points" in sentence  # t(0.975, 2) sqrt(2) = 4.303 * 1.414
    assert "as it is: 2 of 3 seeds were run" in seed_spread(trials()[:2], "median", "as it is")


def test_the_spread_is_pooled_over_variants_with_several_seeds():
    spread = pooled([[0.8, 0.81, 0.82], [0.6, 0.64], [0.9]])
    assert spread.degrees == 3  # 2 + 1, about each variant's own mean
    assert spread.deviation == pytest.approx(((2 * 0.01**2 + 0.0008) / 3) ** 0.5)
    assert spread.bound(1, 1) == pytest.approx(3.182 * spread.deviation * 2**0.5, rel=1e-3)
    assert spread.bound(1, 1, level=0.01) > spread.bound(1, 1) > spread.bound(2, 3)
    assert pooled([[0.8, 0.9], [0.7]]) is None
    sentence = seed_spread(trials(), "median", "as it is")  # norms vary, too: sqrt(4e-4 / 3)
    assert "is 1.15 (3 degrees of freedom)" in sentence and "'as it is' alone is 1.00" in sentence


def test_many_changes_are_held_to_a_bound_for_all_of_them():
    usual = trials()[:3]
    changes = [("none", 0.0), ("some", 0.07), ("much", 0.3)]
    runs = usual + [
        ATrial(name, load_profile("tiny"), a_record(0, held_out=0.8 + far)) for name, far in changes
    ]
    sentence = multiplicity(runs, "median", "as it is")
    assert sentence.startswith("2 of 3 changes count as effects")
    assert "1 counts: much" in sentence  # t(1 - 0.05 / 6, 2) sqrt(2) = 10.8 points
    assert multiplicity(usual, "median", "as it is").startswith("no change")


def test_a_variant_ends_where_the_unchanged_does_or_not():
    runs = trials()
    sentence = ends_alike(runs, "median", "as it is", "norms")
    assert "-10.00 points is beyond the standard deviation over seeds" in sentence
    assert "a difference of 3.35 points" in sentence  # t(0.975, 3) 1.155 sqrt(1/3 + 1/2)
    for trial in runs[3:5]:
        trial.found.facts["held_out"]["median"] = dict.fromkeys(KINDS, 0.818)
    sentence = ends_alike(runs, "median", "as it is", "norms")
    assert "81.80 norms and 81.00 ± 1.00 (3 seeds) as it is" in sentence
    assert "+0.80 points is within the standard deviation" in sentence
    assert ends_alike(runs, "median", "as it is", "wide").startswith("not run: 3 of 3")


def test_runs_judged_by_other_frames_are_named():
    runs = trials()
    for trial in runs[:5]:
        trial.found.labels["noise 0.2/01"] = np.array([0, 1, 1])
    assert judged_alike(runs, "as it is").endswith("were altered for all 5 runs")
    runs[4].found.labels["noise 0.2/01"] = np.array([1, 1, 0])
    assert judged_alike(runs, "as it is").endswith("altered: norms")


def test_effects_are_reported_by_kind_and_by_size():
    rows = effect_by_kind(trials(), "median", "norms", "as it is")
    assert list(rows["kind"]) == list(KINDS) and set(rows["points"]) == {"+9.50"}
    assert set(effect_by_kind(trials(), "median", "wide", "as it is")["points"]) == {"not run"}
    points = {96: ("-0.16", "yes"), 128: ("+0.20", "yes"), 192: ("+0.10", "no")}
    points[256] = ("not run", "too few seeds to say")
    sizes = pd.DataFrame(
        [
            {"size": size, "clips": "test", "mean, points": far, "more than chance": answer}
            for size, (far, answer) in points.items()
        ]
    )
    sentence = where_it_helps(sizes, "test")
    assert sentence.startswith("test clips") and "help at 128 (+0.20)" in sentence
    assert "harm at 96 (-0.16)" in sentence and sentence.endswith("chance at 192 (+0.10)")


def test_effects_have_an_interval_where_there_are_seeds():
    once = [*trials()[:5], ATrial("wide", load_profile("tiny"), a_record(0, held_out=0.75))]
    norms, wide = effects(once, "median", "as it is")
    assert (norms.name, norms.seeds, wide.name, wide.seeds) == ("norms", 2, "wide", 1)
    assert norms.mean == pytest.approx(-9.5) and norms.low < -9.5 < norms.high
    assert wide.mean == pytest.approx(-5) and wide.low is None
    certain, losses, gains = what_matters([norms._replace(low=-12, high=-7), wide])
    assert "Of 2 changes 1 " in certain and certain.endswith("of: norms (-9.50, 2 seeds).")
    assert losses.endswith("norms (-9.50, 2 seeds), wide (-5.00, one seed).")
    assert gains.endswith("none.")
    assert "not run" in what_matters([])[0]


def test_the_length_of_training_is_reported_with_and_without_pseudo_anomalies():
    def run(epochs, auc, mode, **changes):
        return a_record(auc, epochs=epochs, mode=mode, **changes)

    records = [run(4, 0.9, "none"), run(10, 0.8, "none"), run(10, 0.9, "ddl"), run(4, 0.85, "ddl")]
    other = run(10, 0.1, "ddl", size=96)
    points = auc_by_epochs([*records, other], load_profile("tiny"), "median")
    assert list(points) == ["without DDL", "DDL"]
    assert np.allclose(points["without DDL"], [(4, 90), (10, 80)])
    sentence = why_it_helps(points)
    assert "10 epochs instead of 4 loses 10.00 points" in sentence
    assert "with them, it gains 5.00 points" in sentence
    assert "not run" in why_it_helps({"DDL": [(4, 90.0)]})


def test_runs_on_other_boxes_are_named():
    runs = trials()
    assert other_boxes(runs, "as it is").startswith("all 2 runs had the boxes of")
    assert other_boxes(runs[3:], "as it is").startswith("all 0 runs")
    runs[3].found.facts["data"] = {"digest": "b"}
    assert other_boxes(runs, "as it is").endswith("from that: norms")
    runs[3].settings = load_profile("tiny", size=64)  # meant to have others
    assert other_boxes(runs, "as it is").startswith("all 2 runs had the boxes of")


def test_what_can_be_claimed_is_said():
    assert most_seeds(trials(), "as it is").endswith("one seed: norms")
    assert most_seeds(trials()[:3], "as it is") == ("no change was tried with more than one seed")
    assert below_chance(trials(), "median").endswith("better than chance: none")
    poor = [ATrial("", load_profile("tiny"), a_record(0, held_out=v)) for v in (0.4, 0.3, 0.9)]
    text = below_chance(poor, "median")
    assert all(kind in text for kind in KINDS) and text.count("(easier") == len(EASIER)


def test_the_effect_is_paired_at_each_size():
    def trial(mode, size, held_out, seed=0):
        settings = load_profile("tiny", mode=mode, size=size, seed=seed)
        return ATrial("", settings, a_record(held_out - 0.1, seed, held_out=held_out))

    alone = [trial("ddl", 32, 0.9), trial("none", 32, 0.4, seed=1)]
    runs = [trial("ddl", 64, 0.8), trial("none", 64, 0.7), trial("none", 48, 0.5)]
    rest = ATrial("", load_profile("tiny"), None)
    rows = effect_by_size([*alone, *runs, rest], "median", "as it is")
    assert list(rows["size"]) == [64, 64] and list(rows["clips"]) == ["held out", "test"]
    assert list(rows["mean, points"]) == ["+10.00", "+10.00"]
    assert list(rows["DDL"]) == ["80.00 (1 seed)", "70.00 (1 seed)"]
    assert all("too few" in answer for answer in rows["more than chance"])
    usual = [trial("ddl", 32, 0.8 + 0.01 * k, seed=k) for k in range(3)]  # 1 point apart, bound 6
    others = [replace(t, variant="as it is") for t in usual]
    rows = effect_by_size([*runs, *others], "median", "as it is")
    assert list(rows["more than chance"]) == ["yes", "yes"]
    assert effect_by_size(alone, "median", "as it is").empty


def test_the_held_out_auc_foretells_that_of_test_clips_by_rank():
    runs = [ATrial("a", load_profile("tiny"), a_record(t, held_out=h)) for h, t in PAIRS]
    pairs = foretold([*runs, ATrial("none", load_profile("tiny"), None)], "median")
    assert pairs[["held_out", "tests"]].to_numpy() == pytest.approx(np.array(PAIRS))
    sentence = foretelling(pairs)
    assert "is 0.80 (0.80 to 0.80 " in sentence and "4 runs of 1 variants" in sentence
    assert "'a', has a test AUC of 88.00" in sentence and sentence.endswith("is 90.00")
    assert "not run: 2 of these" in foretelling(pairs[:2])


def test_ranks_are_drawn_with_a_number_for_each_variant_and_room_for_all():
    count = 24
    values = np.linspace(0.5, 0.9, count + 1)
    names = [*(f"variant {k}" for k in range(count)), "variant 0"]  # the first has two runs
    pairs = pd.DataFrame({"variant": names, "held_out": values, "tests": values[::-1]})
    figure = auc_plots.rank_scatter(pairs, "held_out", "tests", ("one", "other"))
    figure.canvas.draw()
    (axis,) = figure.axes
    assert axis.get_window_extent().height > 0.4 * figure.bbox.height
    _, *lines = axis.lines
    assert [line.get_marker() for line in lines] == [f"${k}$" for k in range(1, count + 1)]
    assert [*lines[0].get_xdata()] == [count + 1, 1] and [*lines[0].get_ydata()] == [1, count + 1]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == names[:count]


def test_the_rank_correlation_is_bounded_by_draws_of_variants():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(8, 2)) @ np.array([[1, 0.7], [0, 0.7]])
    runs = [(f"{k}", *pair) for k, pair in enumerate(values)]
    pairs = pd.DataFrame(runs, columns=["variant", "held_out", "tests"])
    low, high = rank_bounds(pairs)
    assert -1 <= low < pairs["held_out"].corr(pairs["tests"], method="spearman") < high <= 1
    copies = pd.concat([pairs] * 5)  # seeds that say the same again
    assert rank_bounds(copies) == pytest.approx((low, high))


def paired(value, level=0.6):
    trial = ATrial("contrast", load_profile("tiny"), a_record(0, held_out=0.5))
    verdict = {"auc": level + value, "unaltered": level, "above": 0.5 + value}
    held_out = {"median": dict.fromkeys(KINDS, verdict)}
    trial.found.facts.update({"judge": PAIRED, "held_out": held_out})
    return trial


def test_records_of_two_judges_are_not_mixed():
    both = [*trials(), paired(0.1)]
    with pytest.raises(DDLError, match="several judges .paired, single.; expected one"):
        effect_table(both, "median", "as it is")
    single = of_judge(both, SINGLE)
    rows = kinds_table(single, "median").set_index("variant")
    assert set(rows.loc["contrast"]) == {"not run"} and set(rows.loc["norms"]) == {"71.0"}
    rows = kinds_table(of_judge(both, PAIRED), "median").set_index("variant")
    assert set(rows.loc["contrast"]) == {"10.0"} and set(rows.loc["norms"]) == {"not run"}


def test_the_paired_judge_is_reported_as_points_above_the_unaltered_level():
    (row,) = paired_table([paired(0.1)], "median").to_dict("records")
    assert (row["unaltered level"], row["mean"], row["noise 0.5"]) == ("60.0", "+10.0", "+10.0")
    assert "blurred object" in below_chance([paired(-0.1, level=0.9)], "median")
    assert below_chance([paired(0.1, level=0.2)], "median").endswith(": none")
    assert list(paired_table([trials()[-1]], "median")["mean"]) == ["not run"]


def test_kinds_are_averaged_over_seeds():
    rows = kinds_table(trials(), "median").set_index("variant")
    assert set(rows.loc["norms"]) == {"71.0"} and set(rows.loc["wide"]) == {"not run"}
