"""Writes the JSON schemas of Kubernetes' resources, as PyPI's kubernetes-validate carries them, into a
folder for kubeconform: `schemas.py FOLDER VERSION...`. `./dev charts` calls it once.

kubeconform's own schemas live on a web host that not every network reaches. These are made from the
same OpenAPI documents and refuse unknown fields; only their references must name files.
"""

import json
import sys
from pathlib import Path

import kubernetes_validate


def main(folder: Path, versions: list[str]) -> None:
    carried = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    for version in versions:
        target = folder / version
        target.mkdir(parents=True, exist_ok=True)
        for source in (carried / f"v{version}-local-strict").glob("*.json"):
            text = source.read_text().replace('"/api/_definitions.json#', '"_definitions.json#')
            schema = json.loads(text)
            # Their base: references would be looked up on the web.
            schema.pop("$id", None)
            (target / source.name).write_text(json.dumps(schema))
        if not (target / "deployment-apps-v1.json").exists():
            sys.exit(f"there are no schemas of Kubernetes {version}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
