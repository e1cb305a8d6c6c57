"""What every compressor promises, over all registered names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dmtl.compressors.numbers import bfloat16, wide
from dmtl.errors import ConfigError
from dmtl.mailbox import nothing
from dmtl.registry import names
from dmtl.specs import make, parse

SETTINGS = {
    "bfloat16": ("",),
    "float32": ("",),
    "quantise": tuple(f":bits={bits}" for bits in (1, 2, 3, 4, 7, 8, 9, 12, 16)),
    "random-k": (":share=0.3", ":share=1", ":share=0.01,values=float32", ":share=0.5,values=bfloat16"),
    "top-k": (":share=0.01", ":share=0.1", ":share=0.4", ":share=1", ":share=0.2,values=bfloat16"),
}
PIECES = [name + more for name in names("compressor") for more in SETTINGS.get(name, ("",))]
ROUNDING = {"float32": 2.0**-24, "bfloat16": 2.0**-8}

BOUNDS = ((2**-30, 2**30), (-(2**30), -(2**-30)))
vectors = st.integers(1, 40).flatmap(
    lambda d: arrays(
        st.sampled_from((np.float64, np.float32)),
        st.tuples(st.integers(1, 3), st.just(d)),
        elements=st.one_of(st.just(0.0), *(st.floats(*each, width=32) for each in BOUNDS)),
    )
)


def piece(text: str):
    return make("compressor", parse(text, "compressor"))


def through(text: str, v, seed: int = 0):
    """C(v), as the other end has it."""
    one = piece(text)
    draw = lambda: np.random.default_rng(seed) if one.draws else None  # noqa: E731
    raw = one.pack(v, draw())
    assert raw.dtype == np.uint8
    assert raw.shape == (len(v), one.size(v.shape[1], v.dtype))
    return one.unpack(raw, v.shape[1], v.dtype, draw())


def squares(v):
    return (v.astype(np.float64) ** 2).sum(axis=1)


@pytest.mark.parametrize("text", PIECES)
@given(vectors)
@settings(max_examples=20, deadline=None)
def test_what_arrives_is_nearer_than_nothing(text, v):
    found = through(text, v)
    assert found.dtype == v.dtype
    assert found.shape == v.shape
    d, error, before = v.shape[1], squares(found.astype(np.float64) - v), squares(v)
    one = piece(text)
    if text.startswith("random-k"):
        bound = before  # 1 - k / d of it in the mean
    elif text.startswith("top-k"):
        bound = (1 - min(d, max(1, round(one.share * d))) / d) * before
    elif text == "quantise:bits=1":
        bound = before - np.abs(v.astype(np.float64)).sum(axis=1) ** 2 / d
    elif text.startswith("quantise"):
        bound = np.minimum(1 - 1 / d, d / (2.0**one.bits - 2) ** 2) * before
    else:
        bound = 0 * before
    rounded = ROUNDING.get(getattr(one, "values", text), 0.0) ** 2
    arithmetic = 0.0 if one.step == 1 and "quantise" not in text else 1e-6 if v.dtype == np.float32 else 1e-14
    assert (error <= bound + (rounded + arithmetic) * before).all()


@pytest.mark.parametrize("text", [text for text in PIECES if text.startswith("random-k")])
def test_random_places_lose_the_share_that_they_leave_out_in_the_mean(text):
    v, k = np.arange(1.0, 11)[None], max(1, round(piece(text).share * 10))
    lost = np.mean([squares(through(text, v, seed) - v) for seed in range(2000)])
    tolerance = 4 * squares(v) / np.sqrt(2000) + 2**-8
    assert abs(lost - (1 - k / 10) * squares(v)) < tolerance


@pytest.mark.parametrize("text", PIECES)
@given(vectors)
@settings(max_examples=12, deadline=None)
def test_what_can_be_said_arrives_as_it_was_said(text, v):
    if text.startswith("random-k"):
        once = through(text, v)
        np.testing.assert_array_equal(through(text, once), once)
    else:
        once = through(text, v)
        rtol = 1e-6 if v.dtype == np.float32 else 1e-14  # a mean of equal numbers is not always that number
        np.testing.assert_allclose(through(text, once), once, rtol=rtol if "quantise" in text else 0, atol=0)


@pytest.mark.parametrize("text", PIECES)
@given(st.integers(1, 50), st.integers(1, 3), st.sampled_from((np.float64, np.float32)), st.data())
@settings(max_examples=15, deadline=None)
def test_no_bytes_are_an_error(text, d, f, dtype, data):
    one = piece(text)
    size = f * one.size(d, dtype)
    raw = np.frombuffer(data.draw(st.binary(min_size=size, max_size=size)), np.uint8).reshape(f, -1)
    rng = np.random.default_rng(0) if one.draws else None
    found = one.unpack(raw, d, dtype, rng)
    assert found.shape == (f, d)
    assert found.dtype == dtype


@pytest.mark.parametrize("text", PIECES)
@given(vectors)
@settings(max_examples=12, deadline=None)
def test_a_message_of_numbers_is_not_one_that_says_nothing(text, v):
    one = piece(text)
    raw = one.pack(v, np.random.default_rng(0) if one.draws else None).reshape(-1)
    last = np.frombuffer(raw.tobytes().rjust(4, b"\0")[-4:], np.uint32)[0]
    assert last != nothing(np.uint32)


@pytest.mark.parametrize("text", PIECES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_not_finite_arrives_as_not_finite_if_it_is_said(text, bad, dtype):
    v = np.full((2, 6), bad, dtype)
    with np.errstate(invalid="ignore"):
        found = through(text, v)
    assert not np.isfinite(found).all(axis=1).any()


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(1 + 2.0**-8)  # half way, to the even one
@example(1 + 3 * 2.0**-8)
@example(1 + 2.0**-8 + 2.0**-40)  # just above: rounding to float32 on the way would make it half way
@example(1 + 3 * 2.0**-8 - 2.0**-40)
@example(3.3961e38)
@example(1e-40)
@example(5e-324)
@settings(max_examples=200)
def test_bfloat16_is_the_nearest_one_and_of_two_the_even_one(x):
    bits = int(bfloat16(np.array([[x]]))[0, 0])
    size = bits & 0x7FFF
    assert bits >> 15 == int(np.signbit(x))
    values = {at: 2.0**128 if at == 0x7F80 else float(wide(np.array([at], np.uint16))[0]) for at in neighbours(size)}
    nearest = min(abs(value - min(abs(x), 2.0**129)) for value in values.values())
    best = [at for at, value in values.items() if abs(value - min(abs(x), 2.0**129)) == nearest]
    assert size in best
    assert len(best) == 1 or size % 2 == 0


def neighbours(size: int):
    return range(max(0, size - 1), min(0x7F80, size + 1) + 1)


def test_float32_and_bfloat16_keep_what_they_can_hold():
    v = np.array([[1.0, -0.0, 2.0**-130, 1.5, 3.0, -255.0]])
    for text in ("float32", "bfloat16"):
        assert through(text, v).tobytes() == v.tobytes()


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, float("nan")])
@pytest.mark.parametrize("name", ["top-k", "random-k"])
def test_a_share_is_above_0_and_at_most_1(name, share):
    with pytest.raises(ConfigError, match=r"share is the part of the numbers that travel, in \(0, 1\]"):
        piece(f"{name}:share={share}")


@pytest.mark.parametrize("bits", [0, 17, -1])
def test_bits_are_1_to_16(bits):
    with pytest.raises(ConfigError, match="1 to 16"):
        piece(f"quantise:bits={bits}")


@pytest.mark.parametrize("text", ["top-k:gamma=0", "random-k:gamma=1.5", "quantise:gamma=-1"])
def test_a_gamma_is_above_0_and_at_most_1(text):
    with pytest.raises(ConfigError, match="step towards the average"):
        piece(text)


def test_places_take_the_shorter_of_two_forms():
    assert piece("top-k:share=0.01").size(1000, np.float64) == 10 * (2 + 8)
    assert piece("top-k:share=0.5").size(1000, np.float64) == 125 + 500 * 8
    assert piece("top-k:share=0.001").size(10**6, np.float64) == 1000 * (4 + 8)
    assert piece("top-k:share=1").size(1000, np.float32) == 4000
    assert piece("random-k:share=0.01,values=bfloat16").size(1000, np.float64) == 20
    assert piece("quantise:bits=3").size(1000, np.float64) == 375 + 8
