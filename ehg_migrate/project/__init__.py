"""The façade: one project, one method a verb. The CLI and Python users call the same object."""

from ehg_migrate.project.base import Selectors
from ehg_migrate.project.facade import Project
from ehg_migrate.project.proving import Manner

__all__ = ["Manner", "Project", "Selectors"]
