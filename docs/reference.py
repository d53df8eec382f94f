"""A page of the reference for each module outside the commands; mkdocs calls this while it builds (see mkdocs.yml)."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds reference/MODULE.md, which mkdocstrings fills with the module's docstrings."""
    root = Path(config.config_file_path).parent
    for path in sorted((root / "uwct").rglob("*.py")):
        name = ".".join(path.relative_to(root / "uwct").with_suffix("").parts)
        if not name.startswith("cli") and not name.endswith("__"):
            page = f"# {name}\n\n::: uwct.{name}\n"
            files.append(File.generated(config, f"reference/{name}.md", content=page))
    return files
