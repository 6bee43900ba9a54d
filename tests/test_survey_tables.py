"""What lets a survey be scored in seconds: columns instead of rows, Parquet, and rows chosen by a condition."""

from __future__ import annotations

import csv
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from astropy.table import Table
from click.testing import CliRunner

import gpuanom
from gpuanom.cli import cli
from gpuanom.digits import printed, printed_values
from gpuanom.errors import InputError, OutputError
from gpuanom.records.texts import coded, none_but, texts_of
from gpuanom.store.store import NAME, Store
from gpuanom.tables import select as selection
from gpuanom.tables import writing
from tests import nights
from tests.commands import run

SETTINGS = gpuanom.Settings(background_points=200, sigma_points=300, gradient_points=500, statistics=False)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    nights.night(folder / "in", exposures=4, bands=("r", "i"))
    broken = nights.write(folder / "in", 7)
    broken.write_bytes(broken.read_bytes()[:3000])
    gpuanom.score(folder / "in", folder / "out", settings=SETTINGS, device="cpu", formats=["ecsv", "parquet"])
    return folder / "out"


def test_columns_are_rounded_to_the_digits_that_are_printed():
    rng = np.random.default_rng(5)
    values = np.concatenate(
        [
            rng.lognormal(0, 30, 3000) * rng.choice([-1, 1], 3000),
            (rng.integers(10**6, 10**7, 1000) + 0.5) / 10.0 ** rng.integers(-3, 12, 1000),  # halves, or nearly
            10.0 ** np.arange(-320, 309),
            np.nextafter(10.0 ** np.arange(-30, 30), 0),
            [0.0, -0.0, np.inf, -np.inf, 5e-324, 1.7e308, 9999999.5, 0.99999995, 1e22, 1e23],
        ]
    )
    expected = np.array([printed(v) for v in values.tolist()])
    np.testing.assert_array_equal(printed_values(values).view(np.int64), expected.view(np.int64))
    assert np.isnan(printed_values([np.nan])).all()


@pytest.mark.parametrize("texts", [[], [""], ["b", "a", "b", "b"], ["a"] * 5 + ["c"] * 4, ["N1", "N10", "N1", "é\n"]])
def test_texts_are_coded_in_the_order_in_which_they_come(texts):
    different, codes = coded(np.array(texts, dtype=np.str_))
    assert different.tolist() == list(dict.fromkeys(texts))
    assert [different[k] for k in codes] == texts


def test_texts_of_the_same_key_are_told_apart(monkeypatch):
    monkeypatch.setattr("gpuanom.records.texts._keys", lambda texts: np.zeros(texts.size, dtype=np.uint64))
    different, codes = coded(np.array(["b", "a", "c", "a"]))
    assert different[codes].tolist() == ["b", "a", "c", "a"]


def test_many_texts_take_the_compiled_loop(monkeypatch):
    names = np.array([f"{'NS'[k % 2]}{k % 61}" for k in range(1000)] + ["é", "", "NS", "S1"])
    expected = coded(names)
    monkeypatch.setattr("gpuanom.records.texts.MANY", 100)
    monkeypatch.setattr("gpuanom.records.texts._keys", None)
    for found, wanted in zip(coded(names), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    every = np.random.default_rng(1).permutation(5000).astype(np.str_)  # more texts than a small table has places
    different, codes = coded(every)
    assert np.array_equal(different, every)
    assert codes.tolist() == list(range(5000))


def test_texts_are_as_wide_as_the_longest_that_comes():
    different = np.array(["", "ok", "check"])
    assert texts_of(different, np.array([1, 0, 1])).tolist() == ["ok", "", "ok"]
    assert texts_of(different, np.array([1, 0, 1])).dtype == np.dtype("U2")
    assert texts_of(different, np.zeros(0, dtype=np.int64)).dtype == none_but({}, 3).dtype == np.dtype("U1")
    assert none_but({2: "cause", 0: ""}, 4).tolist() == ["", "", "cause", ""]


def test_an_older_store_gives_the_same_columns(scored, tmp_path):
    path = tmp_path / NAME
    path.write_bytes((scored / NAME).read_bytes())
    with Store(path, SETTINGS, read_only=True) as store:
        expected = {band: store.ccds("TESTCAM", band) for band in "ri"}
    assert expected["r"]["sky"].size
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE ccd_columns SET version = 'another', numbers = x'00' WHERE exposure = '1'")
        db.execute("DELETE FROM ccd_columns WHERE exposure != '1'")
    for read_only in (True, False, True):
        with Store(path, SETTINGS, read_only=read_only) as store:
            for band, columns in expected.items():
                found = store.ccds("TESTCAM", band)
                assert list(found) == list(columns)
                for name in columns:
                    np.testing.assert_array_equal(found[name], columns[name])
                    assert found[name].dtype == columns[name].dtype
    with closing(sqlite3.connect(path)) as db, db:  # a store that could be written to keeps them
        query = "SELECT count(*) FROM ccd_columns JOIN exposures USING (camera, exposure, version)"
        assert db.execute(query).fetchone() == (4,)


def test_a_store_without_the_index_is_read_alike_and_gets_the_index(scored, tmp_path):
    path = tmp_path / NAME
    path.write_bytes((scored / NAME).read_bytes())
    plan = "EXPLAIN QUERY PLAN SELECT exposure, n_ccd, fingerprint FROM exposures WHERE camera = 'a' AND band = 'r'"
    with closing(sqlite3.connect(path)) as db, db:
        assert "COVERING INDEX exposures_of_datasets" in db.execute(plan).fetchone()[3]
        db.execute("DROP INDEX exposures_of_datasets")
    read = []
    for file in (scored / NAME, path):
        with Store(file, SETTINGS, read_only=True) as store:
            read.append(store.dataset("TESTCAM", "r", SETTINGS.bins))
    for name in ("exposures", "owner", "counts", "cosine", "sine", "sizes"):
        np.testing.assert_array_equal(*(getattr(dataset, name) for dataset in read))
    with Store(path, SETTINGS) as store:
        assert "exposures_of_datasets" in store._db.execute(plan).fetchone()[3]


def test_columns_of_a_wrong_length_are_damage(scored, tmp_path):
    path = tmp_path / NAME
    path.write_bytes((scored / NAME).read_bytes())
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE ccd_columns SET numbers = zeroblob(96) WHERE exposure = '1'")
    with Store(path, SETTINGS, read_only=True) as store, pytest.raises(OutputError, match="damaged values"):
        store.ccds("TESTCAM", "i")


def test_large_tables_are_parquet_unless_a_format_is_asked_for(scored, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    assert writing.default_format(writing.LARGE) == "ecsv"
    assert writing.default_format(writing.LARGE + 1) == "parquet"
    tables = [Table.read(scored / f"{name}.ecsv") for name in ("exposures", "ccds")]
    monkeypatch.setattr(writing, "LARGE", len(tables[0]))
    assert [path.name for path in writing.write(tables, tmp_path, None)] == ["exposures.ecsv", "ccds.parquet"]
    assert [path.name for path in writing.write(tables, tmp_path, ["ecsv"])] == ["exposures.ecsv", "ccds.ecsv"]
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert writing.default_format(10**6) == "ecsv"


def test_parquet_keeps_units_descriptions_and_missing_values(scored):
    parquet = pytest.importorskip("pyarrow.parquet")
    for name in ("exposures", "ccds"):
        text, found = Table.read(scored / f"{name}.ecsv"), parquet.read_table(scored / f"{name}.parquet")
        assert found.column_names == text.colnames
        for column in text.colnames:
            expected = [None if value is np.ma.masked else value for value in text[column]]
            missing = "" if text[column].dtype.kind == "U" else None
            assert found[column].to_pylist() == [missing if value is None else value for value in expected]
        assert b"deg" in found.schema.metadata[b"table_meta_yaml"]


@pytest.mark.proof(suffix="ecsv")
@pytest.mark.parametrize("suffix", ["ecsv", "parquet"])
def test_rows_are_chosen_by_a_condition(scored, tmp_path, suffix, monkeypatch):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(selection, "_ROWS", 2)
    for name in ("exposures", "ccds"):
        (tmp_path / f"{name}.{suffix}").write_bytes((scored / f"{name}.{suffix}").read_bytes())
    whole = Table.read(scored / "ccds.ecsv")
    wanted = [(str(r["ccd"]), float(r["sky"])) for r in whole if r["sky"] > np.ma.median(whole["sky"])]
    found = selection.select(tmp_path, "ccds", f"sky > {np.ma.median(whole['sky'])}", ["ccd", "sky"])
    assert [c.name for c in found.columns] == ["ccd", "sky"]
    assert list(found.rows) == wanted
    assert wanted
    everything = selection.select(tmp_path, "exposures")
    table, expected = everything.table(), Table.read(scored / "exposures.ecsv")
    assert table.colnames == expected.colnames
    for column in expected.colnames:
        empty = "" if expected[column].dtype.kind == "U" else 0
        np.testing.assert_array_equal(np.ma.filled(table[column], empty), np.ma.filled(expected[column], empty))
        assert table[column].unit == expected[column].unit
    failed = list(selection.select(tmp_path, "exposures", "source_kl is null and worst_ccd = ''", ["status"]).rows)
    assert failed
    assert failed[0] != ("ok",)
    assert len(list(selection.select(tmp_path, "exposures", "1 = 1", ["exposure", "exposure"]).rows)) == len(expected)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("bandd = 'r'", "do you mean band"),
        ("band = band_r", "a text has single quotes: 'band_r'"),
        ("bands = 'r' and exposure > 'x'", "do you mean band"),
        ("sigma > 40", "no such column: sigma .--table ccds has it"),
        ("probability > 0.2", "no such column: probability .these tell of it: source_p, "),
        ("moon > 0.2", "docs/tables.md has all columns"),
        ("band = ", "a condition is SQL"),
        ("1); DELETE FROM rows; --", "cannot be used"),
        ("load_extension('x')", "cannot be used"),
        ("exists (SELECT 1 FROM sqlite_master)", "cannot be used"),
    ],
)
def test_a_condition_reads_the_columns_and_nothing_else(scored, where, message):
    with pytest.raises(InputError, match=message):
        selection.select(scored, where=where)


def test_tables_that_are_not_there_or_damaged_are_one_line(scored, tmp_path):
    with pytest.raises(OutputError, match="holds neither"):
        selection.select(tmp_path)
    with pytest.raises(InputError, match="do you mean ccd"):
        selection.select(scored, "ccds", columns=["cdd"])
    with pytest.raises(InputError, match=r"has no column worst_ccd \(--table exposures has it"):
        selection.select(scored, "ccds", columns=["worst_ccd"])
    for text in ("a b\n1 2\n", "", "# a remark\na b\n"):
        (tmp_path / "exposures.ecsv").write_text(text)
        with pytest.raises(OutputError, match="cannot be read: no ECSV, which begins with a line # %ECSV"):
            selection.select(tmp_path)
    text = (scored / "exposures.ecsv").read_text()
    (tmp_path / "exposures.ecsv").write_text(text + "1 2\n")
    with pytest.raises(OutputError, match="another number of values"):
        list(selection.select(tmp_path).rows)


def test_tables_beside_a_store_of_another_version_are_refused(scored, tmp_path, capfd):
    (tmp_path / "exposures.ecsv").write_bytes((scored / "exposures.ecsv").read_bytes())
    shutil.copy(scored / NAME, tmp_path)
    assert list(selection.select(tmp_path).rows)
    db = sqlite3.connect(tmp_path / NAME)
    db.execute("PRAGMA user_version = 1")
    db.close()
    code, out, err = run(capfd, "tables", tmp_path)
    assert (code, out) == (2, "")
    assert f"{tmp_path / NAME}: a store of another version of gpuanom (1, not 2)" in err


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("verdict =", "it ends too early"),
        ("(band = 'i'", "it ends too early"),
        ("band = 'i')", 'near ")"'),  # which the user typed
        ("band = 'i' and", "it ends too early"),
        ("band = 'i' order by exposure", 'near "order"'),
    ],
)
def test_messages_name_nothing_that_the_user_did_not_type(scored, where, words):
    with pytest.raises(InputError) as refused:
        selection.select(scored, where=where)
    assert f"the condition cannot be used: {words}" in str(refused.value)


def test_the_command_prints_and_writes(scored, tmp_path):
    run = CliRunner()
    found = run.invoke(cli, ["tables", str(scored), "--where", "band = 'i'", "--columns", "exposure,band"])
    assert found.exit_code == 0
    rows = list(csv.reader(found.output.splitlines()))
    assert rows[0] == ["exposure", "band"]
    assert sorted(rows[1:]) == [["1", "i"], ["3", "i"]]
    path = tmp_path / "i.ecsv"
    written = run.invoke(cli, ["tables", str(scored), "--where", "band = 'i'", "--format", "ecsv", "-o", str(path)])
    assert written.exit_code == 0
    assert sorted(Table.read(path)["exposure"].astype(str)) == ["1", "3"]
    assert run.invoke(cli, ["tables", str(scored), "--format", "fits"]).exit_code == 2
    # Without --format the ending of the file tells.
    for name, form in (("a.ecsv", "ascii.ecsv"), ("a.FITS", "fits"), ("a.csv", "ascii.csv"), ("a.txt", "ascii.csv")):
        given = ["tables", str(scored), "--columns", "exposure,band", "-o", str(tmp_path / name)]
        assert run.invoke(cli, given).exit_code == 0
        assert len(Table.read(tmp_path / name, format=form)) == 5
    for name in ("a.xlsx", "a.fits.gz", "a.json"):
        refused = run.invoke(cli, [*given[:-1], str(tmp_path / name)])
        assert refused.exit_code == 2
        assert "names no format of a table (ecsv, csv, fits, parquet): give --format too" in refused.output
        assert not (tmp_path / name).exists()
    assert run.invoke(cli, [*given[:-1], str(tmp_path / "c.xlsx"), "--format", "csv"]).exit_code == 0
    assert run.invoke(cli, [*given[:-1], str(tmp_path / "b.ecsv"), "--format", "csv"]).exit_code == 0
    assert (tmp_path / "b.ecsv").read_bytes() == (tmp_path / "a.csv").read_bytes()
