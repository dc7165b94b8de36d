"""Values against what others wrote: PyTorch, SciPy, POT, TextBrewer; slow loops in float64 for what no one has."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from objective_kit import OBJECTIVES, pairing, slim_model
from references_kit import found, real_rows, traces
from scipy.spatial.distance import cosine, pdist, squareform
from scipy.special import rel_entr, softmax
from textbrewer import losses as textbrewer
from tiny_models import HEADS, HIDDEN, batch_of, random_rows, rows_of_lengths, totals_of
from torch.nn import functional

from minidisc_ray.configs import objective as configs
from minidisc_ray.core.trace import Wanted
from minidisc_ray.models.forward import run_model


@pytest.fixture
def rows():
    return random_rows(6)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_od_equals_textbrewer(rows, temperature):
    pair = pairing(configs.ODConfig(temperature=temperature))
    batch = batch_of(rows, pair.student)
    one, other = traces(pair, batch)
    expected = temperature**2 * textbrewer.kd_ce_loss(one.logits, other.logits, temperature)
    assert found(pair, batch)["logits"] == pytest.approx(expected.item(), rel=1e-5)


def test_ltsd_equals_torch_and_textbrewer(rows):
    pair = pairing(configs.LTSDConfig())
    batch = batch_of(rows, pair.student)
    one, other = traces(pair, batch)
    terms = found(pair, batch)
    assert terms["logits"] == pytest.approx(functional.cross_entropy(one.logits, other.logits.softmax(-1)).item())
    assert terms["hidden"] == pytest.approx(textbrewer.hid_mse_loss(one.hidden[3], other.hidden[3], batch.mask).item())


def test_ltsd_of_every_second_layer_is_the_mean_over_embeddings_and_those_layers(rows):
    pair = pairing(configs.LTSDConfig(hidden_layers="every_second"))
    batch = batch_of(rows, pair.student)
    one, other = traces(pair, batch)
    errors = [textbrewer.hid_mse_loss(one.hidden[layer], other.hidden[layer], batch.mask).item() for layer in (0, 2)]
    assert found(pair, batch)["hidden"] == pytest.approx(sum(errors) / 2, rel=1e-5)


def test_labels_equal_torch(rows):
    pair = pairing(configs.KDConfig())
    batch = batch_of(rows, pair.student)
    one, other = traces(pair, batch)
    terms = found(pair, batch)
    assert terms["labels"] == pytest.approx(functional.cross_entropy(one.logits, batch.labels).item())
    assert terms["logits"] == pytest.approx(textbrewer.kd_ce_loss(one.logits, other.logits).item())


def test_pkd_equals_textbrewer(rows):
    pair = pairing(configs.PKDConfig())
    batch = batch_of(rows, pair.student)
    one, other = traces(pair, batch)
    expected = sum(textbrewer.pkd_loss(one.hidden[layer], other.hidden[layer]).item() for layer in (1, 2, 3)) / 3
    assert found(pair, batch)["hidden"] == pytest.approx(expected, rel=1e-5)


def test_hs_equals_textbrewer_and_its_linear_map_is_the_papers(rows):
    pair = pairing(configs.HSConfig(mapping="last"), student=slim_model())
    batch = batch_of(rows, pair.student)
    one, other = traces(pair, batch)
    weights = [linear_map.linear.weight.detach() for linear_map in pair.objective.maps]
    assert [weight.shape for weight in weights] == [(HIDDEN, HIDDEN // 2)] * 2
    expected = sum(
        textbrewer.hid_mse_loss(one.hidden[student] @ weight.T, other.hidden[teacher], batch.mask).item()
        for weight, (student, teacher) in zip(weights, ((1, 2), (2, 3)), strict=True)
    )
    assert found(pair, batch)["hidden"] == pytest.approx(expected, rel=1e-5)


def test_cosine_equals_textbrewer(rows):
    pair = pairing(OBJECTIVES["hs-cosine"])
    batch = batch_of(rows, pair.student)
    one, other = traces(pair, batch)
    expected = textbrewer.cos_loss(one.hidden[3], other.hidden[3], batch.mask).item()
    assert found(pair, batch)["hidden"] == pytest.approx(expected, rel=1e-5)


def test_attention_scores_equal_torchs_attention_and_their_loss_textbrewers():
    """Rows of one length, where a mean over real keys and queries is TextBrewer's mean over all."""
    pair = pairing(configs.TinyBERTConfig(embeddings_weight=0, hidden_weight=0))
    batch = batch_of(rows_of_lengths([7, 7, 7]), pair.student)
    one, other = traces(pair, batch)

    def scores(trace, layer):
        split = [getattr(trace, name)[layer].view(3, 7, HEADS, -1).transpose(1, 2) for name in ("queries", "keys")]
        return split[0] @ split[1].transpose(-1, -2) / math.sqrt(HIDDEN // HEADS)

    expected = sum(
        textbrewer.att_mse_loss(scores(one, layer), scores(other, layer), batch.mask).item() for layer in (1, 2, 3)
    )
    assert found(pair, batch)["attention"] == pytest.approx(expected, rel=1e-5)
    attended = functional.scaled_dot_product_attention(
        *(
            getattr(run_model(pair.student, batch, _all_attention()), name)[1].view(3, 7, HEADS, -1).transpose(1, 2)
            for name in ("queries", "keys", "values")
        )
    )
    values = run_model(pair.student, batch, _all_attention()).values[1].view(3, 7, HEADS, -1).transpose(1, 2)
    torch.testing.assert_close(scores(one, 1).softmax(-1) @ values, attended, rtol=1e-4, atol=1e-4)


def _all_attention():
    return Wanted(queries=frozenset({1}), keys=frozenset({1}), values=frozenset({1}))


def test_tinybert_terms_equal_textbrewer(rows):
    pair = pairing(configs.TinyBERTConfig(attention_weight=0))
    batch = batch_of(rows, pair.student)
    one, other = traces(pair, batch)
    terms = found(pair, batch)
    by_layer = [textbrewer.hid_mse_loss(one.hidden[i], other.hidden[i], batch.mask).item() for i in range(4)]
    assert terms["embeddings"] == pytest.approx(by_layer[0], rel=1e-5)
    assert terms["hidden"] == pytest.approx(sum(by_layer[1:]), rel=1e-5)


@pytest.mark.parametrize(
    ("config", "heads", "teacher_layer", "is_divergence"),
    [
        (configs.LTADConfig(num_relation_heads=16), 16, 3, True),
        (configs.MiniLMConfig(), HEADS, 3, True),
        (configs.MiniLMv2Config(num_relation_heads=8, teacher_layer=2), 8, 2, False),
    ],
)
def test_relations_equal_a_loop_with_scipy(rows, config, heads, teacher_layer, is_divergence):
    """Equations 7 to 9 head by head and token by token; equation 2's divergence by scipy."""
    pair = pairing(config)
    batch = batch_of(rows, pair.student)
    one, other = traces(pair, batch)
    terms = found(pair, batch)
    width = HIDDEN // heads
    for name in ("queries", "keys", "values"):
        total = 0.0
        for ours, theirs in zip(
            real_rows(getattr(one, name)[3], batch), real_rows(getattr(other, name)[teacher_layer], batch), strict=True
        ):
            for head in range(heads):
                part = slice(head * width, (head + 1) * width)
                student = softmax(ours[:, part] @ ours[:, part].T / math.sqrt(width), axis=-1)
                teacher = softmax(theirs[:, part] @ theirs[:, part].T / math.sqrt(width), axis=-1)
                total += rel_entr(teacher, student).sum() if is_divergence else -(teacher * np.log(student)).sum()
        assert terms[name] == pytest.approx(total / heads / int(batch.mask.sum()), rel=1e-4)


def test_directminilm_equals_torch(rows):
    pair = pairing(configs.DirectMiniLMConfig(num_relation_heads=2, teacher_layer=1))
    with torch.no_grad():
        pair.objective.maps.add_(
            0.1 * torch.randn(pair.objective.maps.shape, generator=torch.Generator().manual_seed(0))
        )
    batch = batch_of(rows, pair.student)
    one, other = traces(pair, batch)
    terms, real = found(pair, batch), batch.mask.bool()
    for place, name in enumerate(("queries", "keys", "values")):
        ours, theirs = getattr(one, name)[3][real], getattr(other, name)[1][real]
        halves = [
            functional.mse_loss(ours[:, part] @ pair.objective.maps[place, head], theirs[:, part]).item()
            for head, part in enumerate((slice(0, 16), slice(16, 32)))
        ]
        assert terms[name] == pytest.approx(sum(halves) / 2, rel=1e-5)


def test_ckd_equals_loops_with_scipy(rows):
    """Cosines by scipy, angles one triple at a time."""
    pair = pairing(configs.CKDConfig(window=2))
    batch = batch_of(rows, pair.student)
    one, other = traces(pair, batch)
    terms = found(pair, batch)

    def angle(first, center, second):
        return 1 - cosine(first - center, second - center)

    def mean(values):
        return float(np.mean(values)) if len(values) else 0.0

    words = 0.0
    for layer in (1, 2, 3):
        for ours, theirs in zip(
            real_rows(one.hidden[layer], batch), real_rows(other.hidden[layer], batch), strict=True
        ):
            count = len(ours)
            pairs = [(1 - squareform(pdist(points, "cosine")))[~np.eye(count, dtype=bool)] for points in (ours, theirs)]
            triples = [
                (angle(ours[i], ours[j], ours[k]) - angle(theirs[i], theirs[j], theirs[k])) ** 2
                for j in range(count)
                for i in range(count)
                for k in range(count)
                if len({i, j, k}) == 3 and abs(i - j) <= 2 and abs(k - j) <= 2
            ]
            words += (mean((pairs[0] - pairs[1]) ** 2) + mean(triples)) / 3 / batch.rows
    assert terms["words"] == pytest.approx(words, rel=1e-4)

    layers = 0.0
    stacks = [
        torch.stack([trace.hidden[layer] for layer in range(4)], dim=2)[batch.mask.bool()].double().numpy()
        for trace in (one, other)
    ]
    for ours, theirs in zip(*stacks, strict=True):
        cosines = [1 - squareform(pdist(points, "cosine")) for points in (ours, theirs)]
        angles = [
            (angle(ours[i], ours[j], ours[k]) - angle(theirs[i], theirs[j], theirs[k])) ** 2
            if len({i, j, k}) == 3
            else 0.0
            for j in range(4)
            for i in range(4)
            for k in range(4)
        ]
        layers += mean((cosines[0] - cosines[1]) ** 2) + mean(angles)
    assert terms["layers"] == pytest.approx(layers / int(batch.mask.sum()), rel=1e-4)


def test_totals_are_of_the_whole_step(rows):
    pair = pairing(configs.LTSDConfig())
    batch = batch_of(rows, pair.student)
    totals = totals_of(batch)
    twice = replace(totals, rows=2 * totals.rows, tokens=2 * totals.tokens)
    with torch.no_grad():
        assert pair.value(batch, twice).item() == pytest.approx(pair.value(batch).item() / 2)
