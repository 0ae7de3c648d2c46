from typing import Any

from axes.admin import AccessAttemptAdmin, AccessLogAdmin, IsLockedOutFilter
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.contrib.auth.models import Group
from django.http import HttpRequest

from agencies.credentials import key_hint
from agencies.models import Agency, User


class AgencyForm(forms.ModelForm):
    new_key = forms.CharField(
        label="New Ultravox API key",
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "size": 60}),
        help_text="Leave empty to keep the stored key. Nobody can read it here again.",
    )
    remove_key = forms.BooleanField(label="Remove the stored key", required=False)

    class Meta:
        model = Agency
        fields = ("name",)
        widgets = {"name": forms.TextInput(attrs={"size": 60})}

    def clean_new_key(self) -> str:
        key: str = self.cleaned_data["new_key"]
        if not (key.isascii() and (key.isprintable() or not key)):
            raise forms.ValidationError("A key has only printable ASCII characters.")
        return key


class AgencyAdmin(admin.ModelAdmin):
    """To be registered by who knows whether keys work."""

    form = AgencyForm
    search_fields = ("name", "id")
    readonly_fields = ["id", "stored_key", "created_at", "updated_at"]

    @admin.display(description="Ultravox API key")
    def stored_key(self, agency: Agency) -> str:
        return key_hint(agency)

    def save_model(self, request: HttpRequest, obj: Agency, form: Any, change: bool) -> None:
        if form.cleaned_data["new_key"]:
            obj.ultravox_api_key = form.cleaned_data["new_key"]
        elif form.cleaned_data["remove_key"]:
            obj.ultravox_api_key = ""
        super().save_model(request, obj, form, change)


class NewUserForm(AdminUserCreationForm):
    supabase_id = forms.UUIDField(
        label="Supabase id",
        required=False,
        help_text="The user's id at Supabase, if Supabase's tokens are to work.",
    )

    def clean_supabase_id(self) -> Any:
        given = self.cleaned_data["supabase_id"]
        if given and User.objects.filter(pk=given).exists():
            raise forms.ValidationError("There is a user with this id.")
        return given


RIGHTS = ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    """Superusers alone give rights, and change superusers: others would make themselves one."""

    list_display = ("email", "agency", "is_active", "is_staff", "last_login")
    list_filter = ("is_active", "is_staff", "agency")
    list_select_related = ("agency",)
    search_fields = ("email", "id")
    ordering = ("email",)
    readonly_fields = ("id", "last_login", "date_joined")
    autocomplete_fields = ("agency",)
    fieldsets = (
        (None, {"fields": ("id", "email", "password", "agency")}),
        ("Permissions", {"fields": RIGHTS}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_form = NewUserForm
    add_fieldsets = (
        (
            None,
            {
                "fields": (
                    "email",
                    "agency",
                    "supabase_id",
                    "usable_password",
                    "password1",
                    "password2",
                )
            },
        ),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.readonly_fields + (() if request.user.is_superuser else RIGHTS)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        obj.pk = form.cleaned_data.get("supabase_id") or obj.pk
        super().save_model(request, obj, form, change)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may_touch(request, obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may_touch(request, obj) and super().has_delete_permission(request, obj)

    def _may_touch(self, request: HttpRequest, user: User | None) -> bool:
        return request.user.is_superuser or user is None or not user.is_superuser


admin.site.unregister([AccessAttempt, AccessLog, AccessFailureLog, Group])


@admin.register(AccessAttempt)
class FailedLoginsAdmin(AccessAttemptAdmin):
    list_display = ("username", "ip_address", "attempt_time", "failures_since_start", "status")
    list_filter = (IsLockedOutFilter,)
    actions = ()  # axes' own fails


@admin.register(AccessLog)
class KnownAddressesAdmin(AccessLogAdmin):
    """From where users have logged in, once: see lockout.py."""

    list_display = ("username", "ip_address", "attempt_time")
    list_filter = ()


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin):
    """Superusers alone change groups: others would give rights to one of their own."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_superuser

    has_add_permission = has_delete_permission = has_change_permission
