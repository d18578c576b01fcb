"""The networks, the weighted loss, the learning rate and the choice of precision."""

import ast
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.main import get_command

from curate.errors import UsageError
from train import backend
from train.backend import BFLOAT16, FLOAT32, choose_precision, keras
from train.data.batches import one_hot, stream_batches
from train.data.dataset import Examples
from train.models.build import build_model
from train.models.layers import FusedBatchNorm
from train.models.optimizers import Muon
from train.oof.command import choose_models
from train.recipes.presets import RECIPES, find_recipe, recipes_to_json
from train.recipes.recipe import from_json, override, resolve_batch_size, to_json
from train.training.fit import compile_model, plan_rate

FAST, FIVE_LAYER = RECIPES["fast"], RECIPES["five-layer"]


def test_the_five_layer_net_has_a_million_and_a_third_parameters() -> None:
    assert round(build_model(FIVE_LAYER, 7).count_params() / 1e6, 2) == 1.33


def test_the_fast_net_has_a_million_and_a_third_parameters() -> None:
    assert round(build_model(FAST, 7).count_params() / 1e6, 2) == 1.31


def test_an_open_batch_is_large_where_an_epoch_has_a_hundred_steps_of_it() -> None:
    large, small = resolve_batch_size(FAST, 12_800), resolve_batch_size(FAST, 12_799)
    assert (large.batch_size, large.learning_rate) == (128, 2 * FAST.learning_rate)
    assert small == replace(FAST, batch_size=64)
    assert resolve_batch_size(replace(FAST, batch_size=16), 12_800) == replace(FAST, batch_size=16)
    assert resolve_batch_size(override(FAST, learning_rate=0.02), 12_800).learning_rate == 0.04


def test_models_of_oof_are_the_recipes_but_for_three_stages_of_fast() -> None:
    (fast,) = choose_models("fast")
    assert fast == replace(FAST, widths=(48, 96, 192))
    assert choose_models("five-layer") == [FIVE_LAYER]


def test_a_built_model_has_its_precision_and_leaves_the_policy_of_keras_alone() -> None:
    before = keras.config.dtype_policy().name
    model = build_model(FAST, 3, BFLOAT16)
    assert keras.config.dtype_policy().name == before
    assert any(layer.compute_dtype == "bfloat16" for layer in model.layers)
    assert model.layers[-1].compute_dtype == "float32"
    assert all(weight.dtype == "float32" for weight in model.weights)


def test_folding_pixels_keeps_each_two_by_two_square_together() -> None:
    from train.models.build import space_to_depth

    pixels = keras.Input((4, 4, 1))
    fold = keras.Model(pixels, space_to_depth(pixels, 4))
    image = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    folded = np.asarray(fold(image))
    assert folded.shape == (1, 2, 2, 4)
    assert folded[0, 0, 1].tolist() == [2, 3, 6, 7]


@pytest.mark.parametrize("training", [True, False])
def test_fused_batch_norm_gives_what_keras_gives(training: bool) -> None:
    x = np.random.default_rng(0).normal(3, 2, (8, 5, 5, 4)).astype(np.float32)
    ours, theirs = FusedBatchNorm(momentum=0.9), keras.layers.BatchNormalization(momentum=0.9)
    pairs = [np.asarray(layer(x, training=training)) for layer in (ours, theirs)]
    assert np.allclose(*pairs, atol=1e-5)
    assert np.allclose(ours.moving_mean, theirs.moving_mean, atol=1e-6)
    bessel = 200 / 199 if training else 1.0
    grown = (np.asarray(theirs.moving_variance) - (0.9 if training else 0)) * bessel + (
        0.9 if training else 0
    )
    assert np.allclose(ours.moving_variance, grown, atol=1e-5)


def test_the_weighted_loss_is_the_one_of_a_calculation_by_hand() -> None:
    # Row 1: probability of the label 0.5, weight 2; row 2: 0.25, weight 0.5.
    # (2 ln 2 + 0.5 ln 4) / 2 rows = 1.5 ln 2
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Identity()(inputs))
    compile_model(model, FAST, steps=1)
    logs = model.evaluate(
        np.array([[0.5, 0.5], [0.75, 0.25]], np.float32),
        one_hot(np.array([0, 1]), 2),
        sample_weight=np.array([2.0, 0.5], np.float32),
        verbose=0,
        return_dict=True,
    )
    assert logs["loss"] == pytest.approx(1.5 * np.log(2), rel=1e-5)


def test_muon_moves_a_kernel_as_that_of_keras_moves_the_same_matrix_and_all_else_as_adam() -> None:
    rng = np.random.default_rng(0)
    shapes = [(3, 3, 4, 8), (1, 1, 4, 16), (5, 2), (7,)]
    starts = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    ours = [keras.Variable(start) for start in starts]
    flat = [keras.Variable(start.reshape(-1, start.shape[-1])) for start in starts[:2]]
    plain = [keras.Variable(start) for start in starts[2:]]
    theirs = (
        keras.optimizers.Muon(0.01, weight_decay=0.1, adam_weight_decay=0.1),
        keras.optimizers.Adam(0.01, weight_decay=0.1),
    )
    muon = Muon(0.01, weight_decay=0.1, dtype="float32")
    for _ in range(3):
        gradients = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
        muon.apply(gradients, ours)
        theirs[0].apply([g.reshape(-1, g.shape[-1]) for g in gradients[:2]], flat)
        theirs[1].apply(gradients[2:], plain)
    for mine, other in zip(ours, [*flat, *plain], strict=True):
        assert np.allclose(np.asarray(mine).reshape(other.shape), np.asarray(other), atol=1e-5)


@pytest.mark.parametrize(
    ("schedule", "after_a_quarter"), [("linear", 0.75), ("cosine", (1 + 0.5**0.5) / 2)]
)
def test_the_rate_rises_for_an_epoch_and_ends_at_zero(
    schedule: str, after_a_quarter: float
) -> None:
    rate = plan_rate(replace(FAST, epochs=5, schedule=schedule), steps=100)
    rates = [float(rate(step)) for step in (0, 50, 100, 200, 300, 500)]
    assert rates[0] == pytest.approx(FAST.learning_rate / 10, rel=1e-3)
    assert rates[0] < rates[1] < rates[2] == pytest.approx(FAST.learning_rate, rel=1e-3)
    assert rates[3] == pytest.approx(FAST.learning_rate * after_a_quarter, rel=1e-3)
    assert rates[4] == pytest.approx(FAST.learning_rate / 2, rel=1e-3)
    assert rates[5] == pytest.approx(0, abs=1e-9)


def test_the_plateau_schedule_begins_constant() -> None:
    assert plan_rate(FIVE_LAYER, steps=100) == FIVE_LAYER.learning_rate


def test_every_epoch_shows_each_row_once_in_another_order() -> None:
    rows = np.array([5, 7, 2, 9, 0])
    images = np.arange(10, dtype=np.uint8)[:, None, None] * np.ones((1, 48, 48), np.uint8)
    train = Examples(
        images, rows, np.array([0, 1, 0, 1, 0]), np.linspace(1, 2, 5, dtype=np.float32)
    )
    recipe = replace(FAST, batch_size=2, self_distillation=0.0)
    stream = stream_batches(recipe, 2, train, seed=(0,))
    epochs: list[list[tuple[int, int, float]]] = [[], []]
    for epoch in epochs:
        for _ in range(3):
            pixels, targets, weights = next(stream)
            epoch += zip(
                pixels[:, 0, 0, 0].tolist(),
                targets.argmax(axis=1).tolist(),
                weights.tolist(),
                strict=True,
            )
    expected = list(zip(rows.tolist(), train.targets.tolist(), train.weights.tolist(), strict=True))
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(expected)
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize(
    ("flags", "policy", "reason"),
    [
        ({"avx2", "avx512_bf16"}, BFLOAT16, "the CPU has avx512_bf16"),
        ({"avx512_bf16", "amx_bf16"}, BFLOAT16, "the CPU has amx_bf16"),
        ({"avx2"}, FLOAT32, "the CPU has neither amx_bf16 nor avx512_bf16"),
        (set(), FLOAT32, "the CPU has neither amx_bf16 nor avx512_bf16"),
    ],
)
def test_bfloat16_is_taken_where_the_cpu_is_fast_in_it(
    flags: set[str], policy: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "HAS_GPU", False)
    monkeypatch.setattr(backend, "cpu_flags", lambda: flags)
    assert choose_precision() == (policy, reason)
    assert choose_precision(FLOAT32) == (FLOAT32, "requested")
    depthwise = (FLOAT32, "on a CPU mobilenetv2 is no faster in bfloat16")
    assert choose_precision("auto", "mobilenetv2") == depthwise
    assert choose_precision(BFLOAT16, "mobilenetv2") == (BFLOAT16, "requested")


@pytest.mark.parametrize(
    ("reported", "policy", "reason"),
    [
        ((8, 0), BFLOAT16, "the GPU has compute capability 8.0"),
        ((7, 5), FLOAT32, "the GPU has compute capability 7.5, and bfloat16 needs 8.0"),
        ("gfx90a", FLOAT32, "the GPU reports no compute capability"),
    ],
)
def test_a_gpu_trains_in_bfloat16_from_capability_8_on(
    reported: object, policy: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "HAS_GPU", True)
    monkeypatch.setattr(backend, "read_gpu_capability", lambda: backend.parse_capability(reported))
    assert choose_precision() == choose_precision("auto", "mobilenetv2") == (policy, reason)
    assert backend.parse_capability("8.6") == (8, 6)


@pytest.mark.parametrize(
    ("name", "is_compiled"), [("tensorflow", False), ("jax", True), ("torch", False)]
)
def test_a_step_is_compiled_as_a_whole_under_jax_alone(
    name: str, is_compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    monkeypatch.setattr(keras.backend, "backend", lambda: name)
    compile_model(model, FAST, steps=1)
    assert model.jit_compile is is_compiled


def test_an_unknown_precision_is_wrong_usage() -> None:
    with pytest.raises(
        UsageError, match="--precision half: must be one of auto, float32, mixed_bfloat16"
    ):
        choose_precision("half")


def test_what_native_code_writes_during_an_import_shows_only_if_it_fails(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with backend.mute_stderr():
        os.write(2, b"chatter")
    assert capfd.readouterr().err == ""
    with pytest.raises(ZeroDivisionError), backend.mute_stderr():
        os.write(2, b"cause") / 0
    assert capfd.readouterr().err == "cause"


def test_a_recipe_survives_json_and_every_default_has_a_reason() -> None:
    for recipe in RECIPES.values():
        assert from_json(to_json(recipe)) == recipe
        assert set(recipes_to_json()["reasons"]) == set(to_json(recipe)) - {
            "name",
            "about",
            "source",
            "published",
            "model",
            "classes",
        }
    assert all(recipes_to_json()["reasons"].values())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": 0.0}, "--learning-rate 0.0: must be in (0, 10)"),
        (
            {"schedule": "steps"},
            "--schedule steps: must be one of linear, cosine, plateau, decay, constant",
        ),
        ({"epochs": 0}, "--epochs 0: must be >= 1"),
    ],
)
def test_an_override_out_of_range_is_wrong_usage(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        override(FAST, **values)
    assert str(error.value) == message


def test_an_override_of_none_changes_nothing() -> None:
    assert override(FAST, epochs=None, batch_size=None) == FAST
    assert override(FAST, epochs=3).epochs == 3


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="--models slow: no such recipe"):
        choose_models("slow,hog")
    with pytest.raises(
        UsageError, match="--recipe slow: no such recipe: choose from fast, long, five-layer"
    ):
        find_recipe("slow", "--recipe")


HELP = "from train.cli.training import app\ntry: app(['--help'])\nexcept SystemExit: pass"


@pytest.mark.parametrize("code", ["import train", "import train.cli.training", HELP])
def test_the_command_line_loads_no_heavy_package(code: str) -> None:
    heavy = ["tensorflow", "keras", "pandas", "matplotlib", "numpy", "sklearn", "cv2"]
    loaded = "{name.split('.')[0] for name in sys.modules}"
    code = f"import sys\n{code}\nprint(sorted({loaded} & set(sys.argv[1:])))"
    done = subprocess.run(
        [sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stderr == ""


def test_every_command_has_a_full_sentence_and_every_option_a_help() -> None:
    from train.cli.training import app

    for command in get_command(app).commands.values():
        first = command.help.split("\n\n")[0]
        assert first[0].isupper(), command.name
        assert first.endswith("."), command.name
        assert all(getattr(each, "help", None) for each in command.params), command.name


def test_no_module_needs_tensorflow_to_be_imported() -> None:
    """KERAS_BACKEND=jax or torch trains without TensorFlow: functions import it late."""
    for file in sorted(Path(backend.__file__).parent.rglob("*.py")):
        tops = [
            node
            for node in ast.parse(file.read_text()).body
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        names = {alias.name for node in tops for alias in node.names} | {
            getattr(node, "module", "") for node in tops
        }
        assert not {
            name
            for name in names
            if (name or "").split(".")[0] in ("tensorflow", "jax", "torch", "mtcnn")
        }, file


def predict_in_a_process(**variables: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import numpy as np\n"
        "from train.models.build import build_model\n"
        "from train.recipes.presets import RECIPES\n"
        "build_model(RECIPES['fast'], 3)(np.zeros((2, 48, 48, 1), 'uint8'))"
    )
    environment = {name: text for name, text in os.environ.items() if not name.startswith("TF_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=True,
    )


def test_the_import_of_tensorflow_leaves_stderr_clean() -> None:
    assert predict_in_a_process().stderr == ""


def test_the_import_is_announced_on_a_terminal_and_the_line_is_cleared() -> None:
    ours, theirs = os.openpty()
    code = "import sys, train.backend; sys.stderr.write('next')"
    subprocess.run([sys.executable, "-c", code], stderr=theirs, check=True)
    os.close(theirs)
    shown = os.read(ours, 1000).decode()
    os.close(ours)
    assert shown == f"loading Keras ...\r{' ' * 17}\rnext"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86 CPUs train by oneDNN")
@pytest.mark.parametrize(
    ("variables", "has_them"), [({}, True), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, False)]
)
def test_convolutions_are_those_of_onednn_unless_the_user_says_otherwise(
    variables: dict[str, str], has_them: bool
) -> None:
    report = predict_in_a_process(ONEDNN_VERBOSE="1", **variables).stdout
    assert (",convolution," in report) == has_them


def test_the_bar_follows_batches_and_forgets_epochs_that_early_stopping_saved() -> None:
    from train.training.fit import TrainingProgress

    moved: list[int] = []
    shown: list[str] = []
    bar = SimpleNamespace(
        total=50,
        update=lambda: moved.append(1),
        set_postfix_str=lambda text, **__: shown.append(text),
    )
    follower = TrainingProgress(bar, epochs=5)
    follower.set_params({"steps": 10})
    follower.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.25)))
    logs = {"loss": 1.0, "val_accuracy": 0.5}
    for epoch in range(2):
        for batch in range(10):
            follower.on_train_batch_end(batch, logs)
        follower.on_epoch_end(epoch, logs)
    follower.on_train_end()
    assert (len(moved), bar.total, logs["learning_rate"]) == (20, 20, 0.25)
    assert shown[1:3] == [
        "epoch 1/5, val accuracy 50.0%",
        "epoch 2/5, loss 1.000, val accuracy 50.0%",
    ]
