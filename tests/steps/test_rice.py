"""RICE-compressed images decoded on the device: bit for bit as astropy and cfitsio read them; damage is reported."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from gpuanom.encoded import NO_BLANK
from gpuanom.errors import InputError
from gpuanom.fits import decode_rice
from tests import device, tiles


@pytest.fixture(params=["gpu"])
def rice(request):
    """The launcher, on the test device or on the real card."""
    with device.installed():
        from gpuanom.backends.gpu import rice

        yield rice


UNTOUCHED = np.float32(-7.0)


def decoded(rice, images, n_ccd=None, upload=None):
    """The stack and the damaged tiles, on the host; `images` are pairs (place, RiceImage)."""
    import cupy

    n_ccd = len(images) if n_ccd is None else n_ccd
    stack = cupy.full((n_ccd, *images[0][1].shape), UNTOUCHED, np.float32)
    damaged = rice.decode(iter(images), stack, upload)
    return stack.get(), damaged.get()


def one(rice, image):
    """The pixels of an intact image."""
    stack, damaged = decoded(rice, [(0, image)])
    assert damaged.tolist() == [-1]
    return stack[0]


def same_bits(actual, expected):
    """Equal bits, but any NaN equals any other NaN."""
    actual, expected = np.asarray(actual), np.asarray(expected, np.float32)
    assert actual.dtype == np.float32
    assert actual.shape == expected.shape
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected))
    finite = ~np.isnan(expected)
    np.testing.assert_array_equal(actual[finite].view(np.uint32), expected[finite].view(np.uint32))


def sky(ny, nx, seed=0):
    """A noisy sky with features that are hard for decoders of tiles."""
    rng = np.random.default_rng(seed)
    image = rng.normal(1000.0, 10.0, (ny, nx)).astype(np.float32)
    image[:: max(ny // 3, 1), :: max(nx // 5, 1)] += 1e6  # far above the sky: long runs of zeros in the code
    image[ny // 2] = 3.5  # a constant row cannot be quantised
    image[rng.random((ny, nx)) < 0.03] = np.nan
    image[rng.random((ny, nx)) < 0.03] = 0.0
    return image


WRITERS = {"astropy": tiles.by_astropy, "cfitsio": tiles.by_cfitsio}
SHAPES = [
    ((40, 70), (1, 70)),
    ((37, 61), (7, 16)),
    ((130, 33), (64, 512)),
    ((33, 65), (33, 65)),
    ((9, 31), (4, 3)),
    ((3, 10600), (1, 10600)),  # the random numbers start again within a tile
]


# Files


@pytest.mark.parametrize(("shape", "tile"), SHAPES)
@pytest.mark.parametrize("dither", [0, 1, 2])
@pytest.mark.parametrize("writer", WRITERS)
def test_quantised_floats(rice, tmp_path, writer, dither, shape, tile):
    expected = WRITERS[writer](tmp_path / "a.fits", sky(*shape, seed=dither), tile, dither=dither, seed=10000)
    image = tiles.take_apart(tmp_path / "a.fits")
    assert image.dither == dither
    same_bits(one(rice, image), expected)


@pytest.mark.parametrize("seed", [1, 2, 9998, 10000])
def test_seeds(rice, tmp_path, seed):
    expected = tiles.by_astropy(tmp_path / "a.fits", sky(50, 40), (1, 40), seed=seed)
    image = tiles.take_apart(tmp_path / "a.fits")
    assert image.seed == seed
    same_bits(one(rice, image), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32])
@pytest.mark.parametrize(("shape", "tile"), SHAPES[:4])
@pytest.mark.parametrize("writer", WRITERS)
def test_integers(rice, tmp_path, writer, shape, tile, dtype):
    rng = np.random.default_rng(1)
    limits = np.iinfo(dtype)
    whole = rng.integers(100, 140, shape).astype(dtype)
    # Differences that wrap around, and that no code reaches.
    whole[shape[0] // 2] = rng.integers(limits.min, limits.max, shape[1], endpoint=True)
    whole[0] = 100
    expected = WRITERS[writer](tmp_path / "a.fits", whole, tile)
    np.testing.assert_array_equal(expected, whole.astype(np.float32))
    image = tiles.take_apart(tmp_path / "a.fits")
    assert image.bytepix == np.dtype(dtype).itemsize
    same_bits(one(rice, image), expected)


@pytest.mark.parametrize("bytepix", [1, 2, 4])
@pytest.mark.parametrize("blocksize", [1, 7, 16, 31, 32, 33, 64, 1000])
@pytest.mark.parametrize("n", [1, 31, 32, 33, 100, 129])
def test_blocks_of_any_size(rice, tmp_path, bytepix, blocksize, n):
    rng = np.random.default_rng(n)
    q = rng.normal(60, 5, (5, n)).astype(int)
    q[1] = 9
    q[2] = rng.integers(0, 256, n)
    codes = [tiles.encode(row, bytepix, blocksize) for row in q]
    image = tiles.image_of(codes, (5, n), (1, n), bytepix=bytepix, blocksize=blocksize)
    same_bits(one(rice, image), q)
    if blocksize in (16, 32):
        same_bits(tiles.by_hand(tmp_path / "a.fits", image, 8 * bytepix), q)


# Codes


@pytest.mark.parametrize("bytepix", [1, 2, 4])
def test_every_choice_of_low_bits(rice, bytepix):
    """Codes that are longer than necessary: each fs, with runs of zeros from none to many words."""
    rng = np.random.default_rng(3)
    _, largest = tiles.FIELDS[bytepix]
    codes, expected = [], []
    for fs in range(largest + 1):
        # Steps that give at most a few hundred bits of zeros.
        reach = min(2 ** (8 * bytepix - 2) - 1, 2**fs * 150)
        q = np.cumsum(rng.integers(-reach, reach, 40, endpoint=True))
        q = q.astype(np.int64).astype(tiles.TYPES[bytepix])
        codes.append(tiles.encode(q.tolist(), bytepix, fs=fs))
        expected.append(q)
    image = tiles.image_of(codes, (len(codes), 40), (1, 40), bytepix=bytepix)
    same_bits(one(rice, image), np.array(expected))


@pytest.mark.parametrize("zeros", [0, 1, 30, 31, 32, 33, 63, 64, 65, 95, 96, 97, 5000])
@pytest.mark.parametrize("before", [0, 1, 2, 3, 5])
def test_runs_of_zeros(rice, zeros, before):
    """Runs of every length around that of a word, starting at every position in a word."""
    q = [7] * before + [7 + zeros // 2 if zeros % 2 == 0 else 7 - (zeros + 1) // 2] * 5
    code = tiles.encode(q, fs=0)
    assert tiles.decode(code, len(q)) == q
    image = tiles.image_of([code] * 9, (9, len(q)), (1, len(q)), gap=b"\xff")
    same_bits(one(rice, image), [q] * 9)


def test_exact_zeros_and_blanks_are_of_their_dither_and_tile(rice, tmp_path):
    zero, blank = tiles.EXACT_ZERO, -2147483648
    q = [zero, blank, zero + 1, -2147483647, 5, 2147483647, 0, zero]
    codes = [tiles.encode(q)] * 3
    for dither in (0, 1, 2):
        image = tiles.image_of(
            codes, (3, 8), (1, 8), dither=dither, seed=9999, scale=[0.25, 3.7e-9, 1e-42], zero=[17.0, -1e-12, 0.0],
            blank=[blank, NO_BLANK, zero],
        )  # fmt: skip
        found = one(rice, image)
        same_bits(found, tiles.decode_image(image)[0])
        assert np.isnan(found[0, 1])
        assert (found[1, 0] == 0.0) == (dither == 2)
        assert np.isnan(found[2, 0])
        if dither:
            same = dataclasses.replace(image, blank=np.full(3, blank))
            same_bits(one(rice, same), tiles.by_hand(tmp_path / "a.fits", same, -32))


def test_product_and_sum_are_rounded_apart(rice):
    """Pixels for which another precision, or a fused multiply-add, would round to another float32."""
    rng = np.random.default_rng(0)
    q = rng.integers(-(2**31) + 2, 2**31 - 1, (40, 50))
    image = tiles.image_of(
        [tiles.encode(row.tolist()) for row in q], (40, 50), (1, 50), dither=1, seed=5000,
        scale=rng.uniform(1e-9, 1e-7, 40), zero=rng.uniform(-1, 1, 40),
    )  # fmt: skip
    same_bits(one(rice, image), tiles.decode_image(image)[0])


@pytest.mark.parametrize("seed", [1, 21, 9999])
def test_random_numbers_begin_again_and_again(rice, seed):
    """A tile has twice as many pixels as the table has numbers; a restart may fall anywhere in a group of 32 pixels."""
    shape = (1, 20100)
    image = tiles.image_of([tiles.encode([3] * shape[1])], shape, shape, dither=1, seed=seed, scale=100.0)
    same_bits(one(rice, image), tiles.decode_image(image)[0])


def test_the_random_numbers_are_the_standards(rice):
    assert rice.random_numbers().tolist() == tiles.RANDOM


# Stacks


def stack_of_all_sorts(folder, shape=(34, 67)):
    """CCDs that have the same shape and are otherwise all different, with their pixels."""
    rng = np.random.default_rng(8)
    whole = rng.integers(0, 200, shape)
    made = [
        ("astropy", sky(*shape, seed=1), (1, shape[1]), {"dither": 1, "seed": 9998}),
        ("astropy", whole.astype(np.uint16), (34, 67), {}),
        ("cfitsio", sky(*shape, seed=2), (5, 20), {"dither": 2, "seed": 10000}),
        ("cfitsio", whole.astype(np.uint8), (1, shape[1]), {}),
        ("astropy", sky(*shape, seed=3), (1, 9), {"dither": 0}),
        ("astropy", whole.astype(np.int32), (3, 67), {}),
    ]
    images, expected = [], []
    for i, (writer, image, tile, options) in enumerate(made):
        path = folder / f"{i}.fits"
        expected.append(WRITERS[writer](path, image, tile, **options))
        images.append(tiles.take_apart(path))
    n, blocksize = shape[1], 16
    codes = [tiles.encode(row.tolist(), 2, blocksize) for row in whole]
    images.append(tiles.image_of(codes, shape, (1, n), bytepix=2, blocksize=blocksize, scale=0.1, zero=7.3, blank=100))
    expected.append(tiles.decode_image(images[-1])[0])
    return images, expected


def test_ccds_of_a_stack_need_have_nothing_in_common(rice, tmp_path):
    images, expected = stack_of_all_sorts(tmp_path)
    order = [4, 0, 6, 8, 2, 5, 1]  # places in a stack of ten
    stack, damaged = decoded(rice, list(zip(order, images, strict=True)), n_ccd=10)
    for place, pixels in zip(order, expected, strict=True):
        same_bits(stack[place], pixels)
    rest = sorted(set(range(10)) - set(order))
    assert (stack[rest] == UNTOUCHED).all()
    assert damaged.tolist() == [-1] * 10


def test_through_pinned_memory(rice, tmp_path):
    from gpuanom.backends.gpu.staging import Staging

    images, expected = stack_of_all_sorts(tmp_path)
    # The bytes of a mapped file: at odd addresses, and read-only.
    moved = []
    for image in images:
        room = np.zeros(image.data.size + 3, np.uint8)
        room[3:] = image.data
        room.flags.writeable = False
        moved.append(dataclasses.replace(image, data=room[3:]))
    stack, _ = decoded(rice, list(enumerate(moved)), upload=Staging().upload)
    for found, pixels in zip(stack, expected, strict=True):
        same_bits(found, pixels)


@pytest.mark.parametrize("n", [32, 33, 34, 35])
def test_no_byte_is_read_twice_or_outside_its_tile(rice, n):
    """The number of bytes read is the same wherever a tile begins in a word of memory: each byte of the tile once."""
    with device.installed():
        from cpudevice import counting, settings
    if settings.flavour != "fast":
        pytest.skip("loads are counted without a sanitizer in the process")
    read = []
    for gap in range(8):
        code = tiles.encode(list(range(0, 3 * n, 3)))
        with counting() as launches:
            one(rice, tiles.image_of([code], (1, n), (1, n), gap=b"\xff" * gap))
        read += [launch.load_bytes for launch in launches if launch.kernel == "rice"]
    assert len(read) == 8
    assert len(set(read)) == 1


def test_the_roofline_counts_what_is_asked_for(rice, tmp_path):
    with device.installed():
        from cpudevice import counting, settings
    if settings.flavour != "fast":
        pytest.skip("loads are counted without a sanitizer in the process")
    ny, nx = 64, 1500
    plain = np.random.default_rng(0).normal(1000, 10, (ny, nx)).astype(np.float32)
    tiles.by_astropy(tmp_path / "a.fits", plain, (1, nx))
    image = tiles.take_apart(tmp_path / "a.fits")
    with counting() as launches:
        one(rice, image)
    (counted,) = (launch.sectors_requested for launch in launches if launch.kernel == "rice")
    path = Path(__file__).parents[2] / "profiling" / "roofline.py"
    spec = importlib.util.spec_from_file_location("roofline", path)
    roofline = sys.modules["roofline"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(roofline)
    cost = roofline.reading(roofline.Case(1, ny, nx), bits=8 * image.size.sum() / (ny * nx))["rice"]
    assert 1 / roofline.TOLERANCE < counted / (cost.pixels + cost.other) < roofline.TOLERANCE


def test_two_streams_decode_side_by_side(rice, tmp_path):
    """The table of random numbers is sent in the first stream, and is there for the second stream too."""
    import cupy

    expected = tiles.by_astropy(tmp_path / "a.fits", sky(20, 40), (1, 40))
    image = tiles.take_apart(tmp_path / "a.fits")
    rice._random.clear()
    found = []
    for _ in range(2):
        stream = cupy.cuda.Stream(non_blocking=True)
        with stream:
            stack = cupy.empty((1, 20, 40), np.float32)
            rice.decode([(0, image)], stack)
        found.append((stream, stack))
    for stream, stack in reversed(found):
        with stream:
            same_bits(stack.get()[0], expected)


def test_room_is_made_once_where_the_bytes_are_told(rice, tmp_path):
    images, expected = stack_of_all_sorts(tmp_path)
    sent = rice.TileUpload(n_bytes=sum(image.data.size + 4096 for image in images))
    room = sent._data
    for place, image in enumerate(images[:2]):
        sent.add(place, image)
    assert sent._data is room
    import cupy

    stack = cupy.empty((2, *images[0].shape), np.float32)
    assert sent.decode(stack).get().tolist() == [-1, -1]
    same_bits(stack.get(), expected[:2])


def test_nothing_to_decode(rice):
    import cupy

    stack = cupy.full((2, 3, 4), UNTOUCHED, np.float32)
    assert rice.decode([], stack).get().tolist() == [-1, -1]
    assert (stack.get() == UNTOUCHED).all()


def test_tiles_that_the_host_has_decoded(rice):
    """Such tiles may lie anywhere among the others, and keep their bits."""
    pictures = {1: np.full((3, 5), np.nan, np.float32), 3: np.array([[1e-42, -0.0, np.inf]] * 3, np.float32)}
    codes = [tiles.encode([5] * (3 * w)) if i not in pictures else None for i, w in enumerate([5, 5, 3, 3])]
    codes = [codes[0], None, tiles.encode([4] * 9), tiles.encode([5] * 5), tiles.encode([5] * 5), None]
    pictures = {1: pictures[1], 5: pictures[3][:1]}
    image = tiles.image_of(codes, (4, 13), (3, 5), decoded=pictures.items())
    found = one(rice, image)
    same_bits(found, tiles.decode_image(image)[0])
    assert np.signbit(found[3, 11])


def test_the_hosts_decoder_has_the_same_bits(rice, tmp_path):
    images, _ = stack_of_all_sorts(tmp_path)
    stack, _ = decoded(rice, list(enumerate(images)))
    for found, image in zip(stack, images, strict=True):
        same_bits(found, decode_rice(image))


# Damage


def mutated(rng, code):
    """A code with one fault, or without any."""
    code = bytearray(code)
    kind = rng.integers(6)
    at = int(rng.integers(len(code)))
    if kind == 0:
        code[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del code[at:]
    elif kind == 2:
        del code[at]
    elif kind == 3:
        code[at:] = bytes(len(code) - at)
    elif kind == 4:
        code[at : at + 4] = rng.bytes(4)
    else:
        code[:] = rng.bytes(int(rng.integers(60)))
    return bytes(code)


def check_mutants(rice, seed, n):
    """n damaged tiles give the pixels or the damage of the slow decoder, whatever bytes lie around the tiles."""
    rng = np.random.default_rng(seed)
    bytepix, blocksize = int(rng.choice([1, 2, 4])), int(rng.choice([1, 5, 16, 32, 40]))
    width = int(rng.integers(1, 100))
    codes = []
    for _ in range(n):
        q = np.cumsum(rng.normal(0, rng.choice([0, 1, 30, 1e4]), width)).astype(int)
        codes.append(mutated(rng, tiles.encode(q.tolist(), bytepix, blocksize)))
    options = {
        "bytepix": bytepix,
        "blocksize": blocksize,
        "dither": int(rng.integers(3)),
        "seed": int(seed % 10000) + 1,
    }
    numbers = {"scale": 0.37, "zero": -3.3, "blank": 2 if seed % 2 else NO_BLANK}
    images = [
        tiles.image_of(codes, (n, width), (1, width), gap=gap, **options, **numbers)
        for gap in (b"", b"\xff" * 5, b"\x00" * 7)
    ]
    stack, damaged = decoded(rice, list(enumerate(images)))
    expected, wrong = tiles.decode_image(images[0])
    for found in stack:
        same_bits(found, expected)
    assert damaged.tolist() == [wrong[0] if wrong else -1] * len(images)
    if not wrong:
        same_bits(decode_rice(images[0]), expected)
    elif codes[wrong[0]]:  # a tile without bytes stands for a tile that the host has decoded before
        with pytest.raises(InputError, match=f"tile {wrong[0]} of {n} "):
            decode_rice(images[0])
    return len(wrong)


def test_damaged_tiles(rice):
    """`python -m tests.steps.test_rice 200` tries thousands of other tiles."""
    n_damaged = sum(check_mutants(rice, seed, 40) for seed in range(15))
    assert 150 < n_damaged < 450


@pytest.mark.parametrize("bytepix", [1, 2, 4])
def test_too_few_bytes(rice, bytepix):
    whole = tiles.encode([5] * 40, bytepix)
    codes = [whole[:n] for n in range(len(whole) + 1)]
    image = tiles.image_of(codes, (len(codes), 40), (1, 40), bytepix=bytepix)
    expected, wrong = tiles.decode_image(image)
    stack, damaged = decoded(rice, [(0, image)])
    same_bits(stack[0], expected)
    assert damaged.tolist() == [0]
    assert wrong == list(range(len(whole)))


def test_the_first_damaged_tile_is_told_of_each_ccd(rice):
    good, bad = tiles.encode([5] * 6), b"\x00\x00\x00\x05\xff"
    sound = tiles.image_of([good] * 300, (300, 6), (1, 6))
    twice = tiles.image_of([good] * 140 + [bad] + [good] * 100 + [bad] * 59, (300, 6), (1, 6))
    last = tiles.image_of([good] * 299 + [bad], (300, 6), (1, 6))
    stack, damaged = decoded(rice, [(2, twice), (0, sound), (1, last)], n_ccd=4)
    assert damaged.tolist() == [-1, 299, 140, -1]
    assert np.isnan(stack).sum(axis=(1, 2)).tolist() == [0, 6, 6 * 60, 0]


def test_damage_that_is_seen_late_leaves_no_pixel(rice):
    """The tiles have many rows, and are intact for hundreds of pixels."""
    code = tiles.encode(list(range(700)))
    image = tiles.image_of([code, code[:-2], code, code[:-40]], (40, 70), (20, 35), dither=1, seed=4)
    stack, damaged = decoded(rice, [(0, image)])
    expected, wrong = tiles.decode_image(image)
    assert wrong == [1, 3]
    assert damaged.tolist() == [1]
    same_bits(stack[0], expected)


# Mistakes of the caller


def plain(**changes):
    image = tiles.image_of([tiles.encode([5] * 6)] * 4, (4, 6), (1, 6))
    return dataclasses.replace(image, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": (4, 7)}, "a stack of|numbers for other"),
        ({"shape": (5, 6)}, "numbers for other than 5"),
        ({"tile": (0, 6)}, "tiles of 0 x 6"),
        ({"tile": (1, 2**31)}, "tiles of 1 x"),
        ({"blocksize": 0}, "blocks of 0"),
        ({"bytepix": 8}, "BYTEPIX 8"),
        ({"dither": 3}, "dither 3"),
        ({"dither": 1, "seed": 0}, "ZDITHER0 0"),
        ({"dither": 2, "seed": 10001}, "ZDITHER0 10001"),
        ({"start": np.array([0, 0, 0, -1])}, "outside the data"),
        ({"size": np.array([5, 5, 5, 10**6])}, "outside the data"),
        ({"size": np.array([5, 5, 5, -5])}, "outside the data"),
        ({"start": np.array([0, 0, 0, 2**63 - 1])}, "outside the data"),
        ({"scale": np.ones(3)}, "numbers for other than 4"),
        ({"decoded": ((4, np.zeros((1, 6), np.float32)),)}, "for tile 4"),
        ({"decoded": ((0, np.zeros((1, 5), np.float32)),)}, "for tile 0"),
    ],
)
def test_descriptions_that_no_reader_gives_are_refused(rice, changes, message):
    import cupy

    with pytest.raises(ValueError, match=message):
        rice.decode([(0, plain(**changes))], cupy.empty((1, 4, 6), np.float32))


def test_places_are_taken_once_and_in_the_stack(rice):
    import cupy

    stack = cupy.empty((2, 4, 6), np.float32)
    for places in [(0, 0), (0, 2), (-1,)]:
        with pytest.raises(ValueError, match="place"):
            rice.decode([(place, plain()) for place in places], stack)
    with pytest.raises(ValueError, match="a stack of"):
        rice.decode([(0, plain())], cupy.empty((1, 4, 5), np.float32))


if __name__ == "__main__":
    with device.installed():
        from gpuanom.backends.gpu import rice as launcher

        total = sum(check_mutants(launcher, 1000 + seed, 100) for seed in range(int(sys.argv[1])))
    sys.stdout.write(f"{100 * int(sys.argv[1])} mutated tiles, {total} damaged; all as the slow decoder has them\n")
