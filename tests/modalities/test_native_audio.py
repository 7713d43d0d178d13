"""The import hook that lets torchaudio and transformers be used beside any build of torch."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from modalities import native_audio


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_torchaudio_and_what_imports_it_can_be_used():
    code = (
        "import modalities, torch, torchaudio\n"
        "import transformers.audio_utils\n"
        "mel = torchaudio.transforms.MelSpectrogram(16000, n_fft=1024, n_mels=40)(torch.ones(1, 4096))\n"
        "print(tuple(mel.shape))"
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(1, 40, 9)"


def test_what_needs_the_native_library_says_why_it_cannot_run():
    code = (
        "import modalities, torchaudio\n"
        "extension = torchaudio._extension\n"
        "if not hasattr(extension, 'load_error'): print('native'); raise SystemExit\n"
        "guarded = extension.fail_if_no_align(len)\n"
        "try: guarded([])\n"
        "except RuntimeError as error: print(error)"
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "native" or "len needs its native library, which did not load" in done.stdout


def test_importing_modalities_imports_neither_torch_nor_torchaudio():
    done = run_python("import modalities, sys; print({'torch', 'torchaudio'} & set(sys.modules))")
    assert done.stdout.strip() == "set()", done.stderr


def test_a_second_installation_changes_nothing():
    native_audio.install()
    before = list(sys.meta_path)
    native_audio.install()
    assert sys.meta_path == before


def test_the_finder_answers_for_one_module_only():
    finder = next(found for found in sys.meta_path if type(found).__module__ == native_audio.__name__)
    assert finder.find_spec("json", None) is None
    assert finder.find_spec("torchaudio", None) is None


@pytest.mark.skipif(importlib.util.find_spec("torchaudio") is None, reason="torchaudio is not installed")
def test_the_real_loader_runs_first():
    import torchaudio

    assert torchaudio._extension.__spec__.loader._real.name == native_audio.EXTENSION
