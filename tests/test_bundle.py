"""Bundles load whole or not at all, and say in one line which file is at fault."""

import hashlib
import json
import os
import pickle
import struct
from pathlib import Path

import keras
import numpy as np
import pytest
from builders import (
    FEATURES,
    Tick,
    assert_equal,
    manifest,
    network,
    pipeline,
    published,
    randomise,
    records_of,
    run,
    segment_network,
)
from safetensors.numpy import save

from forecaster.bundle import manifest as manifest_module
from forecaster.bundle.manifest import MANIFEST, WEIGHTS, content_digest
from forecaster.bundle.store import check_writable, load_bundle, named_weights, save_bundle
from forecaster.errors import BundleError
from forecaster.networks.many_to_many import Network
from forecaster.networks.spec import NetworkSettings


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "model"
    save_bundle(place, manifest(network()), network())
    return place


def refusal(folder, name):
    """The text of the refusal, which is one line that names `name` in `folder`."""
    with pytest.raises(BundleError) as refused:
        load_bundle(folder)
    text = str(refused.value)
    assert text.startswith(f"{folder / name}: ")
    assert "\n" not in text
    return text.removeprefix(f"{folder / name}: ")


def seal(folder, **changes):
    """Write the manifest with `changes` and fitting digests, as only an attacker or a bug would."""
    tree = json.loads((folder / MANIFEST).read_text("utf-8"))
    tree |= {"weights_sha256": hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()} | changes
    tree["manifest_sha256"] = content_digest(tree)
    (folder / MANIFEST).write_text(json.dumps(tree), "utf-8")


def arrays_of(made):
    return {name: value.numpy() for name, value in named_weights(made).items()}


def rewrite(folder, arrays):
    (folder / WEIGHTS).write_bytes(save(arrays))
    seal(folder)


def test_a_bundle_comes_back_with_the_same_weights_and_the_same_forecasts(folder):
    read, loaded = load_bundle(folder)
    assert read.features == FEATURES
    for name, array in arrays_of(network()).items():
        np.testing.assert_array_equal(arrays_of(loaded)[name], array)
    records = records_of([Tick("a", n, float(n * n % 7)) for n in range(30)])
    assert_equal(published(run(pipeline(made=loaded), records)), published(run(pipeline(), records)))


def test_a_bundle_of_an_lstm_for_an_aggregate_comes_back_as_one(tmp_path):
    made = network(cell="lstm", aggregate="mean")
    save_bundle(tmp_path / "m", manifest(made), made)
    read, loaded = load_bundle(tmp_path / "m")
    assert (read.network.cell, read.network.aggregate, read.network.outputs) == ("lstm", "mean", 1)
    records = records_of([Tick("a", n, float(n * n % 7)) for n in range(30)])
    assert_equal(published(run(pipeline(made=loaded), records)), published(run(pipeline(made=made), records)))


def test_a_manifest_from_before_cells_and_aggregates_is_of_gru_for_every_step(folder):
    shape = json.loads((folder / MANIFEST).read_text("utf-8"))["network"]
    seal(folder, network={name: value for name, value in shape.items() if name not in {"cell", "aggregate"}})
    assert load_bundle(folder)[0].network == network().settings


@pytest.mark.parametrize("change", [{"cell": "lstm"}, {"aggregate": "max"}])
def test_a_segment_network_with_another_cell_or_an_aggregate_is_refused(tmp_path, change):
    folder = tmp_path / "m"
    save_bundle(folder, manifest(segment_network()), segment_network())
    shape = json.loads((folder / MANIFEST).read_text("utf-8"))["network"]
    seal(folder, network=shape | change)
    assert f"{next(iter(change))}: a network of kind segment" in refusal(folder, MANIFEST)


def test_a_bundle_holds_two_plain_files_that_others_may_read(folder):
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, WEIGHTS]
    assert folder.stat().st_mode & 0o777 == 0o755
    assert list(folder.parent.iterdir()) == [folder]


def test_the_version_is_made_of_the_weights_where_none_is_given(tmp_path):
    sealed = save_bundle(tmp_path / "m", manifest(network(), version=""), network())
    assert sealed.version == sealed.weights_sha256[:12]
    assert load_bundle(tmp_path / "m")[0] == sealed


@pytest.mark.parametrize("part", [{"loss": float("nan")}, {"loss": float("inf")}, {"deep": [{"a": (1, 2.5, None)}]}])
def test_whatever_training_notes_down_the_bundle_loads_again(tmp_path, part):
    save_bundle(tmp_path / "m", manifest(network(), training=part), network())
    assert load_bundle(tmp_path / "m")[0].training.keys() == part.keys()


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_truncated_weights_are_refused(folder, size):
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:size])
    assert "truncated or altered" in refusal(folder, WEIGHTS)


@pytest.mark.parametrize("at", [0, 9, 200, -1])
def test_one_altered_byte_of_the_weights_is_refused(folder, at):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[at] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    assert "truncated or altered" in refusal(folder, WEIGHTS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"horizon": 3', '"horizon": 4'),
        ('"version": "1"', '"version": "2"'),
        ("0.01", "0.02"),
        ('"bar": null', '"bar": "mean"'),
    ],
)
def test_an_altered_manifest_is_refused(folder, old, new):
    text = (folder / MANIFEST).read_text("utf-8")
    assert old in text
    (folder / MANIFEST).write_text(text.replace(old, new), "utf-8")
    assert "altered" in refusal(folder, MANIFEST)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version": 1}', "\x00", "null"])
def test_what_is_no_manifest_is_refused(folder, text):
    (folder / MANIFEST).write_text(text, "utf-8")
    refusal(folder, MANIFEST)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"format_version": 2}, "format_version"),
        ({"kind": "paths"}, "kind"),
        ({"code": "import os"}, "code"),
        ({"context_length": 0}, "context_length"),
        ({"step_ms": 0}, "step_ms"),
        ({"step_ms": None}, "features.seasons"),
        ({"network": {"inputs": 3, "units": [6], "horizon": 3, "quantiles": [0.1, 0.5, 0.9]}}, "network.inputs"),
        ({"features": {"level_spans": [], "scale_span": 1}}, "features.level_spans"),
        ({"features": {"level_spans": [0.5], "scale_span": 1}}, "features.level_spans"),
    ],
)
def test_a_manifest_that_this_version_cannot_serve_is_refused_by_the_setting_at_fault(folder, changes, named):
    seal(folder, **changes)
    assert named in refusal(folder, MANIFEST)


@pytest.mark.parametrize("quantiles", [[0.1, 0.9], [0.9, 0.5, 0.1], [0.5, 0.5], [0.5, 1.0]])
def test_a_manifest_with_quantiles_that_cannot_be_served_is_refused(folder, quantiles):
    tree = json.loads((folder / MANIFEST).read_text("utf-8"))["network"]
    seal(folder, network=tree | {"quantiles": quantiles})
    assert "network.quantiles" in refusal(folder, MANIFEST)


def test_arrays_of_another_shape_or_kind_are_refused(folder):
    fine = arrays_of(network())
    name = min(fine)
    for array in (fine[name][..., :-1], fine[name].astype(np.float64), fine[name].astype(np.int32)):
        rewrite(folder, fine | {name: np.ascontiguousarray(array)})
        assert f"array {name} is " in refusal(folder, WEIGHTS)


def test_missing_and_surplus_arrays_are_refused(folder):
    fine = arrays_of(network())
    for arrays in (dict(list(fine.items())[1:]), fine | {"more": np.zeros(1, np.float32)}, {}):
        rewrite(folder, arrays)
        assert "its arrays are not those of the network" in refusal(folder, WEIGHTS)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(folder, number):
    fine = arrays_of(network())
    name = max(fine)
    fine[name] = fine[name].copy()
    fine[name].flat[0] = number
    rewrite(folder, fine)
    assert "not finite" in refusal(folder, WEIGHTS)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def safetensors_of(dtype):
    header = json.dumps({"x": {"dtype": dtype, "shape": [2], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + b"\x00" * 4


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Evil()),
        b"PK\x03\x04",
        b"\x89HDF\r\n",
        b"\xff" * 8 + b"{",
        safetensors_of("BF16"),
        safetensors_of("no"),
    ],
)
def test_a_file_of_another_kind_is_refused_and_nothing_of_it_runs(folder, content, monkeypatch):
    monkeypatch.chdir(folder.parent)
    (folder / WEIGHTS).write_bytes(content)
    seal(folder)
    refusal(folder, WEIGHTS)
    assert not Path("executed").exists()


@pytest.mark.parametrize("name", [MANIFEST, WEIGHTS])
def test_a_missing_file_is_refused(folder, name):
    (folder / name).unlink()
    assert refusal(folder, name) == "cannot be read: No such file or directory"


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    refusal(tmp_path / "none", MANIFEST)


@pytest.mark.parametrize("name", [MANIFEST, WEIGHTS])
def test_a_pipe_or_a_device_in_the_place_of_a_file_is_not_waited_for(folder, name):
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    assert refusal(folder, name).endswith("cannot be read: no plain file")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert refusal(folder, name).endswith("cannot be read: no plain file")


def test_a_file_larger_than_a_bundle_may_be_is_not_read(folder, monkeypatch):
    monkeypatch.setattr(manifest_module, "MOST_BYTES", 100)
    assert "larger than" in refusal(folder, MANIFEST)


def other_network():
    made = Network(network().settings)
    randomise(made, 77, 0.1)
    return made


def weights_of(folder):
    return arrays_of(load_bundle(folder)[1])["output/bias"]


@pytest.mark.parametrize("step", ["write", "fsync", "rename"])
@pytest.mark.parametrize("call", [1, 2])
def test_an_interrupted_write_leaves_the_former_bundle_loadable(folder, monkeypatch, step, call):
    before, calls = weights_of(folder), []

    def failing(real):
        def run_or_fail(*arguments, **named):
            calls.append(1)
            if len(calls) == call:
                raise OSError(28, "No space left on device")
            return real(*arguments, **named)

        return run_or_fail

    place, name = {"write": (Path, "open"), "fsync": (os, "fsync"), "rename": (Path, "rename")}[step]
    with monkeypatch.context() as patch:
        patch.setattr(place, name, failing(getattr(place, name)))
        with pytest.raises(BundleError, match="cannot be written: No space left on device"):
            save_bundle(folder, manifest(network()), other_network())
    np.testing.assert_array_equal(weights_of(folder), before)
    assert list(folder.parent.iterdir()) == [folder]


def test_a_bundle_is_replaced_by_the_next(folder):
    made = other_network()
    save_bundle(folder, manifest(made, version="2"), made)
    assert load_bundle(folder)[0].version == "2"
    np.testing.assert_array_equal(weights_of(folder), arrays_of(made)["output/bias"])
    assert list(folder.parent.iterdir()) == [folder]


def test_every_weight_of_a_deep_network_has_its_own_name():
    made = Network(NetworkSettings(inputs=3, units=(4, 3), horizon=2, quantiles=(0.5,)))
    assert len(named_weights(made)) == len(made.trainable_variables) == 9
    assert keras.ops.shape(named_weights(made)["gru_1/kernel"]) == (4, 9)


def test_a_folder_that_cannot_be_written_is_known_before_training(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BundleError, match="cannot be written"):
        check_writable(tmp_path / "file" / "bundle")
    check_writable(tmp_path / "new" / "bundle")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("kept", ["thesis.txt", "sub/deep.txt"])
def test_a_folder_that_holds_anything_else_is_never_replaced(tmp_path, kept) -> None:
    mine = tmp_path / "precious"
    (mine / kept).parent.mkdir(parents=True)
    (mine / kept).write_text("keep")
    for attempt in (lambda: check_writable(mine), lambda: save_bundle(mine, manifest(network()), network())):
        with pytest.raises(BundleError, match=r"precious: holds '.*', which is no part of a bundle"):
            attempt()
    assert (mine / kept).read_text() == "keep"


@pytest.mark.parametrize(("name", "fault"), [("afile", "is a file"), ("..", "holds"), ("/", "names no folder")])
def test_what_cannot_be_a_bundles_folder_is_refused_before_training(tmp_path, name, fault) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "afile").write_text("x")
    with pytest.raises(BundleError, match=fault):
        check_writable(tmp_path / "inner" / name)
    assert (tmp_path / "inner" / "afile").read_text() == "x"
