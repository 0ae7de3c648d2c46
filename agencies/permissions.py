"""Permissions of the API's views."""

from typing import Any

from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from agencies.authentication import Service
from agencies.models import User
from voiceproject.errors import NotAgencyUser


class DenyAll(BasePermission):
    """Deny by default, so that every view must say who may call it."""

    def has_permission(self, request: Request, view: object) -> bool:
        raise NotAuthenticated()


class AgencyUserOrService(BasePermission):
    """Allow services, and users with an agency. Raises NotAgencyUser."""

    def has_permission(self, request: Request, view: Any) -> bool:
        caller = request.user
        if isinstance(caller, User) and caller.agency_id is None:
            raise NotAgencyUser()
        return isinstance(caller, User | Service)


class AgencyUserStaffOrService(AgencyUserOrService):
    """Also allow staff with the view's `view_permission`, who need no agency."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return sees_all(request.user, view.view_permission) or super().has_permission(request, view)


def sees_all(caller: Any, permission: str) -> bool:
    """Return whether the caller sees all agencies' rows: a service, or staff with the permission."""
    is_staff = isinstance(caller, User) and caller.is_staff
    return isinstance(caller, Service) or (is_staff and caller.has_perm(permission))
