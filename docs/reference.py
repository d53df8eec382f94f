"""What mkdocs adds to the pages in this folder (see mkdocs.yml): a page of the reference for each module outside the
commands, out of its docstrings; and the pictures and files of the repository that pages show, which lie elsewhere."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

BESIDE = re.compile(r'(\]\(|src=")\.\./([^)"]+)')  # a link, or a picture, out of docs/


def modules(config: MkDocsConfig) -> list[str]:
    """The names of all modules outside the commands, without those that only gather what others define."""
    package = Path(config.config_file_path).parent / "uwct"
    names = [".".join(path.relative_to(package).with_suffix("").parts) for path in sorted(package.rglob("*.py"))]
    return [name for name in names if not name.startswith(("cli", "api")) and not name.endswith("__")]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the reference to the contents, a chapter a room."""
    rooms: dict[str, list[str]] = {}
    for name in modules(config):
        rooms.setdefault(name.split(".")[0], []).append(f"reference/{name}.md")
    config.nav.append({"Reference": [{room: pages} for room, pages in rooms.items()]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds reference/MODULE.md, which mkdocstrings fills, and every file of the repository that a page names."""
    root = Path(config.config_file_path).parent
    for name in modules(config):
        page = f"# {name}\n\n::: uwct.{name}\n"
        files.append(File.generated(config, f"reference/{name}.md", content=page))
    named = {name for page in (root / "docs").glob("*.md") for _, name in BESIDE.findall(page.read_text())}
    for name in sorted(named):
        files.append(File.generated(config, name, abs_src_path=str(root / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links out of docs/ lead to those files; HTML's pictures do already, a page being a folder of the site.

    Those to a module lead to its page.
    """
    pages = {f"uwct/{name.replace('.', '/')}.py": f"reference/{name}.md" for name in modules(config)}
    return re.sub(r"(\]\()\.\./([^)]+)", lambda link: link[1] + pages.get(link[2], link[2]), markdown)
