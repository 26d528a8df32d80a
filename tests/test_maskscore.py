"""The scorer of instance masks, on images small enough to count by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from s3d_ros.offline.maskscore import assign, average_precision, compare, score_masks

TRUTH = np.array([[1, 1, 1, 1, 0, 2, 2, 2, 2, 0]])


def test_perfect():
    score = score_masks([compare(TRUTH * 10, TRUTH)])
    assert (score.mean_iou, score.precision, score.recall, score.f1, score.ap) == (1, 1, 1, 1, 1)


def test_shifted_by_one():
    found = np.roll(TRUTH, 1)  # each mask: 3 of 5 pixels shared
    pair = compare(found, TRUTH)
    np.testing.assert_allclose(assign(pair), [0.6, 0.6])
    assert score_masks([pair]).f1 == 1
    assert score_masks([pair], threshold=0.7).f1 == 0


def test_merged_objects_count_once():
    found = (TRUTH > 0).astype(int)  # 8 pixels: IoU 0.5 with either, only one of them can have it
    score = score_masks([compare(found, TRUTH)])
    assert score.mean_iou == 0.25
    assert (score.precision, score.recall) == (1, 0.5)
    assert score.f1 == pytest.approx(2 / 3)


def test_assignment_is_the_best_in_all_not_the_first():
    truth = np.array([[1] * 10 + [2] * 10])
    found = np.array([[5] * 6 + [6] * 8 + [7] * 6])  # 6: 4 of 1 and 4 of 2
    np.testing.assert_allclose(assign(compare(found, truth)), [0.6, 0.6])


def test_pixels_that_do_not_count():
    found = np.array([[1, 1, 1, 1, 3, 2, 2, 0, 0, 0]])
    counted = np.array([[1, 1, 1, 1, 0, 1, 1, 0, 0, 1]], bool)
    score = score_masks([compare(found, TRUTH, counted=counted)])
    assert score.mean_iou == 1 and score.precision == 1


def test_small_truth_is_no_object():
    pair = compare(TRUTH, np.where(np.arange(10) == 5, 3, TRUTH), min_truth_pixels=2)
    assert pair.truth.tolist() == [1, 2]


def test_average_precision_by_hand():
    truth = np.array([[1, 1, 2, 2, 3, 3, 0, 0]])
    found = np.array([[1, 1, 2, 2, 0, 0, 4, 4]])
    # Ranked: right, wrong, right; precision 1, 1/2, 2/3 at recalls 1/3, 1/3, 2/3; made monotone: 1, 2/3, 2/3.
    pair = compare(found, truth, {1: 0.9, 4: 0.8, 2: 0.7})
    assert average_precision([pair]) == pytest.approx((1 + 2 / 3) / 3)


def test_duplicate_is_wrong_and_images_are_ranked_together():
    whole = np.array([[1, 1, 1, 1, 1, 1]])
    a = compare(np.array([[7, 7, 7, 7, 8, 8]]), whole, {7: 0.5, 8: 0.9})
    b = compare(np.array([[7, 7, 7, 7, 7, 7]]), whole, {7: 0.8})
    # Ranked: 8 of a (IoU 1/3, wrong), 7 of b (right), 7 of a (right): precision 0, 1/2, 2/3, made monotone 2/3.
    assert average_precision([a, b]) == pytest.approx(2 / 3)


def test_nothing_at_all():
    empty = np.zeros((2, 3), int)
    score = score_masks([compare(empty, empty)])
    assert np.isnan(score.mean_iou) and np.isnan(score.f1) and np.isnan(score.ap)
    assert score_masks([compare(empty, empty + 1)]).mean_iou == 0
    assert score_masks([compare(empty + 1, empty)]).f1 == 0
    assert np.isnan(score_masks([]).mean_iou)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(1, 10\)"):
        compare(np.zeros((2, 2), int), TRUTH)
    with pytest.raises(ValueError, match="counted"):
        compare(TRUTH, TRUTH, counted=np.ones((2, 2), bool))


SMALL = arrays(np.int64, (6, 8), elements=st.integers(0, 4))


@given(SMALL, SMALL)
def test_scores_are_shares_and_names_do_not_matter(found, truth):
    pair = compare(found, truth)
    score = score_masks([pair])
    for value in (score.mean_iou, score.precision, score.recall, score.f1, score.ap):
        assert np.isnan(value) or 0 <= value <= 1
    renamed = score_masks([compare(np.array([0, 9, 3, 70, 1])[found], np.array([0, 5, 8, 2, 6])[truth])])
    np.testing.assert_allclose(renamed.mean_iou, score.mean_iou)
    np.testing.assert_allclose(renamed.f1, score.f1)


@given(SMALL)
def test_a_mask_agrees_with_itself(truth):
    score = score_masks([compare(truth, truth)])
    assert np.isnan(score.mean_iou) if not truth.any() else score.mean_iou == 1
