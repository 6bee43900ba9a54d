"""A store that is read is not written to meanwhile: what is read of it belongs together."""

from __future__ import annotations

import pytest

from gpuanom import merge_nights, open_night
from gpuanom.errors import StoreBusyError
from gpuanom.nights import merge
from gpuanom.review import opened
from gpuanom.store.store import NAME, Store
from tests.test_storing import QUICK  # a fixture: measured exposures
from tests.test_storing import measured as measured


@pytest.fixture
def night(tmp_path, measured):
    with Store(tmp_path / NAME, QUICK) as store:
        store.add(measured[0][1])
    return tmp_path


def test_a_writer_waits_for_a_reader(night, measured):
    with Store(night / NAME, QUICK, read_only=True) as reader:
        assert reader.n_exposures() == 1
        with pytest.raises(StoreBusyError, match="another gpuanom run is using it; wait for it"):
            Store(night / NAME, QUICK)
        assert reader.n_exposures() == 1
    with Store(night / NAME, QUICK) as store:
        store.add(measured[1][1])
        assert store.n_exposures() == 2


def test_readers_do_not_wait_for_each_other(night):
    with Store(night / NAME, QUICK, read_only=True) as one, Store(night / NAME, QUICK, read_only=True) as other:
        assert one.n_exposures() == other.n_exposures() == 1


def test_no_exposure_is_added_to_a_night_while_it_is_opened(night, measured, monkeypatch):
    """Between two questions to the store, tables and histograms could come from different exposures."""
    ranked, refused = opened.tables.ranked, []

    def write_first(*arguments):
        with pytest.raises(StoreBusyError), Store(night / NAME, QUICK) as store:
            store.add(measured[1][1])
        refused.append(True)
        return ranked(*arguments)

    monkeypatch.setattr(opened.tables, "ranked", write_first)
    assert len(open_night(night).exposures) == 1
    assert refused
    with Store(night / NAME, QUICK) as store:
        store.add(measured[1][1])
    monkeypatch.undo()
    assert len(open_night(night).exposures) == 2


def test_a_night_can_be_written_to_while_the_merged_night_is_ranked(night, measured, monkeypatch):
    """To rank a survey takes long, and a watch of one of the nights waits meanwhile."""
    build, written = merge.tables.build, []

    def write_first(*arguments):
        with Store(night / NAME, QUICK) as store:
            store.add(measured[1][1])
        written.append(True)
        return build(*arguments)

    monkeypatch.setattr(merge.tables, "build", write_first)
    merged = merge_nights(night, night / "merged", settings=QUICK, device="cpu")
    assert written
    assert len(merged.exposures) == 1
