"""The tenants of the django-tenants peer; an app without migrations, so its tables are made as they are here."""

from django.db import models
from django_tenants.models import DomainMixin, TenantMixin


class Tenant(TenantMixin):
    """One target."""

    auto_create_schema = False


class Domain(DomainMixin):
    """Wanted by django-tenants, never used."""

    note = models.TextField(default="")
