"""The house: who may import whom, who may name what, and that the documents speak of what is there."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted([*(ROOT / "core").rglob("*.py"), *(ROOT / "dashboard").rglob("*.py"), ROOT / "streamlit_app.py"])
# Lower floors may not import higher ones.
FLOORS = ("core", "dashboard.texts", "dashboard.outlines", "dashboard.packing", "dashboard.frames",
          "dashboard.slices", "dashboard.explanation_run", "dashboard.trust_run", "dashboard.watched_run",
          "dashboard.marked", "dashboard.outbox", "dashboard.cache", "dashboard.state", "dashboard.readers",
          "dashboard.who", "dashboard.answer", "dashboard.places",
          "dashboard.viewer", "dashboard.widgets", "dashboard.tables", "dashboard.case_opening", "dashboard.earlier",
          "dashboard.export_panel", "dashboard.score_table",
          "dashboard.charts", "dashboard.pointing", "dashboard.on_demand", "dashboard.answer_sets",
          "dashboard.answer_panel", "dashboard.reading",
          "dashboard.inside", "dashboard.bench", "dashboard.explanation", "dashboard.pixel_panel",
          "dashboard.trust_panel", "dashboard.ask_table", "dashboard.ask_panel", "dashboard.compare_panel",
          "dashboard.figures", "dashboard.threshold_panel", "dashboard.confidence_panel",
          "dashboard.card_view", "dashboard.model_list", "dashboard.own_model",
          "dashboard.published_models", "dashboard.lesson", "dashboard.demo", "dashboard.agreement",
          "dashboard.worklist", "dashboard.pages", "streamlit_app")  # fmt: skip
SCRIPTS = sorted(path for path in (ROOT / "dashboard" / "viewer").rglob("*") if path.suffix in {".js", ".html"})


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Every module that a file imports, also late ones; ``from a import b`` counts as both a and a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def floor(module: str) -> int:
    matches = [i for i, name in enumerate(FLOORS) if module == name or module.startswith(name + ".")]
    return max(matches, default=-1)


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_go_down_only(path: Path) -> None:
    own = floor(module_name(path))
    assert not {name for name in imports(path) if floor(name) > own}


@pytest.mark.parametrize("path", [p for p in SOURCES if p.is_relative_to(ROOT / "core")], ids=module_name)
def test_core_knows_no_streamlit_and_never_prints(path: Path) -> None:
    assert not {name for name in imports(path) if name.split(".")[0] in {"streamlit", "dashboard"}}
    calls = [n.func for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)]
    assert "print" not in {call.id for call in calls if isinstance(call, ast.Name)}


def test_only_state_names_session_keys_and_only_cache_caches() -> None:
    texts = {module_name(path): path.read_text("utf-8") for path in SOURCES}
    named = {name for name, text in texts.items() if "session_state" in text}
    assert {".".join(name.split(".")[:2]) for name in named} == {"dashboard.state"}
    assert {name for name, text in texts.items() if "st.cache_" in text} == {"dashboard.cache"}


def test_the_first_page_imports_no_torch() -> None:
    pages = "dashboard.pages.review, dashboard.pages.network, dashboard.pages.bench, dashboard.pages.lesson"
    pages += ", dashboard.pages.worklist"
    code = f"import sys, {pages}, dashboard.pages.models, dashboard.pages.demo; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_core_runs_without_streamlit() -> None:
    code = "import sys, core.analysis, core.training.publishing, core.__main__; print('streamlit' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_every_text_that_a_page_asks_for_exists_and_none_is_left_over() -> None:
    texts = set(json.loads((ROOT / "assets" / "texts" / "en.json").read_text("utf-8")))
    source = "\n".join(path.read_text("utf-8") for path in [*SOURCES, *SCRIPTS])
    asked = set(re.findall(r"""["']([a-z]+\.[a-z_]+)["']""", source))
    parts = r"(network|maps)\.(order|scale|view)_|kernel\.|bench\.view_|bench\.(stride|padding|dilation)|walk\.origin_|"
    parts += r"lesson\.[a-z]+_(title|words)|demo\.[a-z]+_(name|title|words)|page\.|pooling\.|activation\.|ablation\.|"
    parts += r"looksfor\.(filter|label)|"
    parts += r"own\.head_|viewer\.(middle|towards|vertical|horizontal|plane|keys)_|history\."
    parts += r"|worklist\.(show|order|answer|read|column)_"
    composed = {key for key in texts if re.match(parts, key)}
    assert texts - asked - composed == set()
    prefixes = {key.split(".")[0] for key in texts}
    called = set(re.findall(r'\bt\(\s*"([a-z]+\.[a-z_]+)"', source))
    assert {key for key in called if key.split(".")[0] in prefixes} <= texts


def test_pages_are_thin_and_files_are_short() -> None:
    lengths = {module_name(path): len(path.read_text("utf-8").splitlines()) for path in SOURCES}
    lengths |= {path.name: len(path.read_text("utf-8").splitlines()) for path in SCRIPTS}
    assert {name: n for name, n in lengths.items() if n > 400} == {}
    assert lengths["streamlit_app"] < 40


def test_the_readme_names_every_file_and_both_commands() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    tree = readme.split("```")
    listed = "\n".join(tree[1::2])
    for path in SOURCES:
        if path.name != "__init__.py":
            assert path.name in listed, f"{path.name} is not in the README's tree"
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for command in re.findall(r"(?:^|`)make ([a-z]+)", readme, re.MULTILINE):
        assert re.search(rf"^{command}:", makefile, re.MULTILINE), f"make {command} does not exist"


def test_no_data_path_and_no_patient_data_is_committed() -> None:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = done.stdout.splitlines()
    assert not [name for name in names if name.endswith((".dcm", ".jpg", ".jpeg", ".npz", ".pt", ".pth", ".pkl"))]
