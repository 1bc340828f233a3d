"""Suites: those that ship, and whatever a user's file may hold."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemmbench.suites.reader import load_suite, names, parse_suite
from gemmbench.suites.shapes import Shape
from gemmkernels.errors import GemmbenchError, UnknownNameError
from gemmkernels.kernel import TIERS
from gemmkernels.ladder import find
from gemmkernels.smallfile import MAX_BYTES, fault, plainly


def refused(text: str | bytes) -> str:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(GemmbenchError) as seen:
        parse_suite(data, source="mine.toml")
    message = str(seen.value)
    assert message.startswith("mine.toml")
    assert "\n" not in message
    return message


def test_the_suites_that_ship() -> None:
    assert set(names()) == {"batched", "ladder", "llm", "moe", "quick", "skinny", "square"}
    for name in names():
        suite = load_suite(name)
        assert suite.name == name
        assert suite.description
        assert suite.shapes("cpu")
        assert suite.shapes("gpu")
        for kind in ("cpu", "gpu"):
            for kernel in map(find, suite.kernels(kind)):
                assert kind in kernel.kinds, (name, kernel.name)
    quick = load_suite("quick")
    assert quick.preset == "quick"
    assert quick.precisions("cpu") == ("fp32", "bf16")
    assert "fp64" not in quick.precisions("gpu")
    assert {find(kernel).tier for kernel in quick.kernels("gpu")} == set(TIERS)
    assert load_suite("ladder").kernels("gpu") == ()
    assert [shape.m for shape in quick.shapes("cpu")] == [128, 512, 1024]
    assert [shape.m for shape in quick.shapes("gpu")] == [1024, 4096, 8192]


def test_llm_has_every_weight_at_every_number_of_tokens() -> None:
    """Against the models' own configurations: hidden sizes, heads and vocabularies."""
    suite = load_suite("llm")
    shapes = suite.shapes("gpu")
    weights = {(shape.batch, shape.n, shape.k) for shape in shapes}
    assert len(weights) == 71
    for tokens in (1, 16, 256, 4096, 8192):
        of = {(shape.batch, shape.n, shape.k) for shape in shapes if shape.m == tokens}
        assert of == weights
    assert {shape.layout for shape in shapes} == {"nt"}
    assert sum(shape.batch == 128 for shape in shapes) == 2 * 5  # DeepSeek's absorbed weights
    by_label = {label: shape for shape in shapes for label in shape.label.split("; ")}
    for model, hidden, qkv, inner, vocabulary in (
        ("llama-2-7b", 4096, 3 * 4096, 11008, 32000),
        ("llama-3-8b", 4096, (32 + 2 * 8) * 128, 14336, 128256),
        ("llama-3-70b", 8192, (64 + 2 * 8) * 128, 28672, 128256),
        ("llama-3.1-405b", 16384, (128 + 2 * 8) * 128, 53248, 128256),
        ("qwen2.5-7b", 3584, (28 + 2 * 4) * 128, 18944, 152064),
        ("qwen2.5-72b", 8192, (64 + 2 * 8) * 128, 29568, 152064),
        ("qwen3-8b", 4096, (32 + 2 * 8) * 128, 12288, 151936),
        ("qwen3-32b", 5120, (64 + 2 * 8) * 128, 25600, 151936),
    ):
        for layer, n, k in (
            *(("qkv", qkv, hidden), ("gate_up", 2 * inner, hidden), ("down", hidden, inner)),
            ("lm_head", vocabulary, hidden),
        ):
            found = by_label[f"{model} {layer}, 256 tokens"]
            assert (found.m, found.n, found.k) == (256, n, k), (model, layer)
    joined = "llama-3-8b gate_up, 1 token; mistral-7b gate_up, 1 token; mixtral-8x7b"
    assert any(shape.label.startswith(joined) for shape in shapes)
    assert max(shape.m for shape in suite.shapes("cpu")) == 16


def test_moe_has_the_rows_of_all_experts_together() -> None:
    suite = load_suite("moe")
    for kind in ("cpu", "gpu"):
        for shape in suite.shapes(kind):
            assert shape.experts in (8, 16, 32)
            said = re.fullmatch(r".* (\d+) tokens x (\d+)", shape.label)
            assert said is not None
            assert shape.m == int(said[1]) * int(said[2])
        assert all(find(name).grouped for name in suite.kernels(kind))


def test_a_list_of_m_is_a_shape_for_each_number_of_tokens() -> None:
    suite = parse_suite(
        b"""shapes = [
            {m=[1, 16], n=2, k=3, label="up", layout="nt"}, {m=[5], n=2, k=3, experts=2},
        ]""",
        source="mine.toml",
    )
    assert suite.shapes("gpu") == (
        Shape(m=1, n=2, k=3, layout="nt", label="up, 1 token"),
        Shape(m=16, n=2, k=3, layout="nt", label="up, 16 tokens"),
        Shape(m=5, n=2, k=3, experts=2),
    )


def test_square_has_powers_of_two_and_what_no_tile_divides() -> None:
    sizes = [shape.m for shape in load_suite("square").shapes("gpu")]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (128, 16384)
    assert all(size & (size - 1) == 0 for size in sizes[::2])
    assert all(size % 16 == 0 and size % 32 for size in sizes[1::2])


def test_a_file_of_the_users(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        """
        description = "what I care about"
        kernels = ["library", "my-kernel"]
        precisions = ["fp16"]
        shapes = ["64x32x16", "8 * 1x2x3", {m = 16, n = 57344, k = 8192, layout="nt", label="up"}]
        [gpu]
        precisions = ["bf16", "fp8_e4m3"]
        """
    )
    suite = load_suite(path)
    assert suite == load_suite(str(path))
    assert (suite.name, suite.source, suite.preset) == ("mine", "mine.toml", None)
    assert suite.kernels("cpu") == ("library", "my-kernel")
    assert suite.precisions("cpu") == ("fp16",)
    assert suite.precisions("gpu") == ("bf16", "fp8_e4m3")
    assert suite.shapes("gpu") == (
        Shape(m=64, n=32, k=16),
        Shape(m=1, n=2, k=3, batch=8),
        Shape(m=16, n=57344, k=8192, layout="nt", label="up"),
    )


def test_one_geometry_is_measured_once_under_all_its_labels() -> None:
    suite = parse_suite(
        b"""shapes = [{m=1,n=2,k=3,label="q"}, "1x2x3", {m=1,n=2,k=3,label="o"}, "4x4x4"]""",
        source="mine.toml",
    )
    assert suite.shapes("cpu") == (Shape(m=1, n=2, k=3, label="q; o"), Shape(m=4, n=4, k=4))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("shapes = [", "is not TOML: "),
        ("a = 1\nb = = 2", "at line 2"),
        ('shape = ["1x1x1"]', "unknown key 'shape': did you mean shapes?"),
        (
            '[gpu]\nkernel = ["a"]\nshapes = ["1x1x1"]',
            "gpu: unknown key 'kernel': did you mean kernels",
        ),
        (
            "shapes = [{m=1,n=1,k=1,lable='x'}]",
            "shapes[0]: unknown key 'lable': did you mean label?",
        ),
        ('shapes = ["1x1x1", "1x1"]', "shapes[1]: shape '1x1' is not MxNxK"),
        ('shapes = ["1x0x1"]', "shapes[0]: n = 0 must lie in"),
        ('shapes = ["1x-4x1"]', "shapes[0]: shape '1x-4x1' is not MxNxK"),
        ('shapes = ["1x9999999999x1"]', "shapes[0]: n = 9999999999 must lie in"),
        ('shapes = ["x*1x1x1"]', "shapes[0]: batch 'x' is no whole number"),
        ('shapes = ["0*1x1x1"]', "shapes[0]: batch = 0 must lie in"),
        ("shapes = [{m=-1,n=1,k=1}]", "shapes[0].m: Expected `int` >= 1"),
        (f"shapes = [{{m={10**30},n=1,k=1}}]", "shapes[0].m"),
        (f"shapes = [{{m=0x{'f' * 9000},n=1,k=1}}]", "shapes[0].m"),
        ("shapes = [{m=1,n=1,k=1.5}]", "shapes[0].k: Expected `int`, got `float`"),
        ("shapes = [{m=1,n=1,k=true}]", "shapes[0].k: Expected `int`, got `bool`"),
        ("shapes = [{m=1,n=1}]", "shapes[0]: missing key `k`"),
        ("shapes = [{m=[],n=1,k=1}]", "shapes[0]: m is empty: name some, such as m = [1, 16, 256]"),
        ("shapes = [{m=[1,0],n=1,k=1}]", "shapes[0].m[1]: Expected `int` >= 1"),
        ('shapes = [{m=[1,"2"],n=1,k=1}]', "shapes[0].m[1]: Expected `int`, got `str`"),
        ("shapes = [{m=[[1]],n=1,k=1}]", "shapes[0].m[0]: Expected `int`, got `array`"),
        ("shapes = [{m=1,n=[1],k=1}]", "shapes[0].n: Expected `int`, got `array`"),
        (f"shapes = [{{m={[*range(1, 10_002)]},n=1,k=1}}]", "shapes makes 10001 shapes, 10000 at"),
        (
            f"shapes = [{{m=[1],n=1,k=1,label='{'x' * 195}'}}]",
            "shapes[0]: label 'xxx",
        ),
        ("shapes = [4096]", "shapes[0]: Expected `str | table`, got `int`"),
        ('shapes = "1x1x1"', "shapes: Expected `array"),
        ('shapes = [{m=1,n=1,k=1,layout="nm"}]', "shapes[0]: unknown layout 'nm': "),
        ('shapes = [{m=1,n=1,k=1,layout=""}]', "shapes[0]: unknown layout ''"),
        (
            'shapes = [{m=1,n=1,k=1,label="a\\nb"}]',
            "shapes[0]: label 'a\\nb' must be one printable",
        ),
        ('precisions = ["fp31"]\nshapes = ["1x1x1"]', "precisions: unknown precision 'fp31'"),
        ('kernels = [""]\nshapes = ["1x1x1"]', "kernels: name '' is not printable"),
        ('preset = "fast"\nshapes = ["1x1x1"]', "preset: unknown preset 'fast'"),
        ("", "it has no shapes"),
        ("shapes = []", "shapes is empty"),
        ('shapes = ["1x1x1"]\n[cpu]\nprecisions = []', "cpu.precisions is empty"),
        ("cpu = 3", "cpu: Expected `table`, got `int`"),
        ('name = "\\u202e"\nshapes = ["1x1x1"]', "name = '\\u202e' must be one printable line"),
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("\n\n" + "a." * 100_000 + "a = 1", "line 3 has a key of over 8 parts"),
        ("[" + '"a b" . ' * 50_000 + "a]", "line 1 has a key of over 8 parts"),
        (b"\xff\xfe", "is not TOML"),
        (f"shapes = [{', '.join(repr(f'1x1x{i + 1}') for i in range(10_001))}]", "10000 at most"),
    ],
)
def test_each_mistake_is_one_line_with_file_and_key(text: str | bytes, told: str) -> None:
    assert told in refused(text)


def test_unknown_names_and_files(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown suite 'quik': did you mean quick"):
        load_suite("quik")
    for path in (
        "none.toml",
        "folder/none",
        tmp_path,
        "a\0.toml",
        "x" * 5000 + ".toml",
        "/dev/zero",
    ):
        with pytest.raises(GemmbenchError) as seen:
            load_suite(path)
        assert "\n" not in str(seen.value)
    (tmp_path / "big.toml").write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(GemmbenchError, match="is over 1 MiB: expected a suite"):
        load_suite(tmp_path / "big.toml")


def parsed(data: bytes) -> None:
    try:
        suite = parse_suite(data, source="fuzz.toml")
    except GemmbenchError as error:
        assert len(str(error).splitlines()) == 1
        assert len(str(error)) < 500
    else:
        for kind in ("cpu", "gpu"):
            for shape in suite.shapes(kind):
                assert min(shape.m, shape.n, shape.k, shape.batch) >= 1


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    parsed(data)


SCALARS = st.one_of(
    st.integers(),
    st.booleans(),
    st.floats(),
    st.sampled_from(["fp32", "1x1x1", "8*2x2x2", "nn", "quick", "library"]),
    st.text(max_size=8),
)
WORDS = "name description preset shapes kernels precisions cpu gpu m n k batch layout label"
KEYS = st.sampled_from(WORDS.split()) | st.text(max_size=4)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=8,
)


def toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return (
            '"' + "".join(f"\\U{ord(c):08x}" for c in value if not 0xD800 <= ord(c) < 0xE000) + '"'
        )
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{toml(key)} = {toml(inner)}' for key, inner in value.items())}}}"
    return repr(value)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_toml(table: dict[str, object]) -> None:
    parsed("\n".join(f"{toml(key)} = {toml(value)}" for key, value in table.items()).encode())


def test_reading_a_suite_imports_no_torch() -> None:
    code = """if True:
        import sys, gemmbench.suites.reader
        gemmbench.suites.reader.load_suite("quick")
        print("torch" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("Expected `int` >= 1 - at `$.a[1].m`", "a[1].m: Expected `int` >= 1, got 0"),
        ("Expected `int`, got `str` - at `$.a[0]`", "a[0]: Expected `int`, got `str`: 'x'"),
        ("Expected `float` > 0.0 - at `$.d[...]`", "d[...]: Expected `float` > 0.0, got -1.5"),
        ("Expected `int` <= 9 - at `$.big`", "big: Expected `int` <= 9, got a number of 4001 bits"),
        ("Expected `array`, got `object` - at `$.d`", "d: Expected `array`, got `object`"),
        ("Expected `int` - at `$.none.of[7].these`", "none.of[7].these: Expected `int`"),
        ("Object missing required field `x`", "Object missing required field `x`"),
    ],
)
def test_a_fault_is_told_with_its_value(message: str, told: str) -> None:
    root = {"a": ["x", {"m": 0}], "d": {"k": -1.5}, "big": 2**4000, "long": "y" * 500}
    assert fault(message, root) == told
    assert len(fault("Expected `int`, got `str` - at `$.long`", root)) < 120


def test_a_fault_of_toml_is_told_in_its_words() -> None:
    assert plainly("Expected `array`, got `object` - at `$.d`", {"d": {}}) == (
        "d: Expected `array`, got `table`"
    )
    assert plainly("Object missing required field `x`", {}) == "missing key `x`"
    assert plainly("Expected `int`, got `str` - at `$.d`", {"d": "object"}) == (
        "d: Expected `int`, got `str`: 'object'"
    )
