"""A hook of MkDocs: files outside docs/ that are pages of the site, or that pages link to.

Links stay as they are in the repository, where `../` leads out of docs/ and `docs/` into it. On the site all pages are in one
folder.
"""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

OUTSIDE = ("CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/results/*")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside docs/ under their paths in the repository."""
    root = Path(config.config_file_path).parent
    for path in sorted(found for pattern in OUTSIDE for found in root.glob(pattern)):
        files.append(File.generated(config, path.relative_to(root).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Links without the folder that the site does not have."""
    return markdown.replace("](../", "](").replace("](docs/", "](")
