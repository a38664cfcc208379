"""Execute analyst.ipynb over a run: NSF_RUN=... SECRET_KEY=... python3 run.py [COPY]

Exits 1 and shows the cell when one fails. COPY receives the notebook with its
outputs. Needs what requirements.lock pins, and no network beyond the loopback
interface, over which the kernel is spoken to.
"""
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError


def main():
    here = Path(__file__).resolve().parent
    for variable in ("NSF_RUN", "SECRET_KEY"):
        if variable not in os.environ:
            sys.exit(f"{variable} is not set")
    os.environ["NSF_RUN"] = str(Path(os.environ["NSF_RUN"]).resolve())
    os.environ["NSF_NOTEBOOKS"] = str(here)
    notebook = nbformat.read(here / "analyst.ipynb", as_version=4)
    nbformat.validate(notebook)
    client = NotebookClient(notebook, kernel_name="python3", timeout=300, resources={"metadata": {"path": str(here)}})
    try:
        client.execute()
    except CellExecutionError as error:
        sys.exit(str(error))
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    plots = sum("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)
    if plots != 2:
        sys.exit(f"{plots} plots instead of 2")
    if len(sys.argv) > 1:
        nbformat.write(notebook, sys.argv[1])
    print(f"{len(cells)} cells ran, {plots} plots")


if __name__ == "__main__":
    main()
