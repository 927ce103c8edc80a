"""manage.py of the django-tenants peer, its settings in it; `set_up` makes the tenants that work.json names."""

import json
import os
import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command, execute_from_command_line

WORK = json.loads(Path("work.json").read_text())
sys.path.insert(0, "")
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django_tenants.postgresql_backend",
            "PASSWORD": os.environ["PGPASSWORD"],
            "OPTIONS": {"sslmode": "disable"},
            **WORK["database"],
        }
    },
    DATABASE_ROUTERS=["django_tenants.routers.TenantSyncRouter"],
    SHARED_APPS=["django_tenants", "django.contrib.contenttypes", "registry"],
    TENANT_APPS=["work"],
    INSTALLED_APPS=["django_tenants", "django.contrib.contenttypes", "registry", "work"],
    TENANT_MODEL="registry.Tenant",
    TENANT_DOMAIN_MODEL="registry.Domain",
    TENANT_MULTIPROCESSING_MAX_PROCESSES=WORK["parallel"],
    TENANT_MULTIPROCESSING_CHUNKS=1,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)


def set_up() -> None:
    """What django-tenants itself needs, and for each tenant a row and an empty schema."""
    django.setup()
    from django.db import connection
    from registry.models import Tenant

    call_command("migrate_schemas", shared=True, run_syncdb=True, verbosity=0)
    Tenant.objects.bulk_create([Tenant(schema_name=name) for name in WORK["targets"]])
    with connection.cursor() as cursor:
        for name in WORK["targets"]:
            cursor.execute(f'CREATE SCHEMA "{name}"')


if __name__ == "__main__":
    set_up() if sys.argv[1] == "set_up" else execute_from_command_line(sys.argv)
