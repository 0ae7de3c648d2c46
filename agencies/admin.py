import time
from typing import Any

from axes.admin import AccessAttemptAdmin, IsLockedOutFilter
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.contrib.auth.models import Group
from django.core.validators import RegexValidator
from django.db.models import QuerySet
from django.http import HttpRequest

from agencies.credentials import NO_KEY, get_agency_credentials, key_hint, record_key_check
from agencies.models import Agency, User
from ultravox import check_key
from voiceproject.errors import KeyRejected, ServiceError, UltravoxError

KEY_FIELDS = ("stored_key", "key_status", "key_checked_at")
KEY_STATUSES = {None: "Not used yet", True: "Works", False: "Rejected"}


class AgencyForm(forms.ModelForm):
    new_key = forms.CharField(
        label="New Ultravox API key",
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "size": 60}),
        validators=[RegexValidator(r"\A[ -~]*\Z", "A key has only printable ASCII characters.")],
        help_text="Leave empty to keep the stored key. A stored key cannot be read here.",
    )
    remove_key = forms.BooleanField(label="Remove the stored key", required=False)

    class Meta:
        model = Agency
        fields = ("name",)
        widgets = {"name": forms.TextInput(attrs={"size": 60})}


@admin.register(Agency)
class AgencyAdmin(admin.ModelAdmin):
    form = AgencyForm
    list_display = ("name", *KEY_FIELDS, "updated_at")
    search_fields = ("name", "id")
    readonly_fields = (*KEY_FIELDS, "id", "created_at", "updated_at")
    fields = ("name", "new_key", "remove_key", *readonly_fields)
    actions = ("test_key",)

    def get_fields(self, request: HttpRequest, obj: Agency | None = None) -> Any:
        return self.fields if obj else ("name", "new_key")

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Reject URL filters on the key, which could be used to read its ciphertext."""
        is_key = lookup.startswith("encrypted_key")
        return not is_key and super().lookup_allowed(lookup, value, request)

    @admin.display(description="Ultravox API key")
    def stored_key(self, agency: Agency) -> str:
        return key_hint(agency)

    @admin.display(description="key status")
    def key_status(self, agency: Agency) -> str | None:
        return None if key_hint(agency) == NO_KEY else KEY_STATUSES[agency.key_works]

    @admin.action(description="Test the keys of the selected agencies", permissions=["change"])
    def test_key(self, request: HttpRequest, agencies: QuerySet[Agency]) -> None:
        """Test one key after another, until Ultravox fails or ULTRAVOX_DEADLINE has passed."""
        deadline = time.monotonic() + settings.ULTRAVOX_DEADLINE
        for agency in agencies:
            try:
                check_key(
                    get_agency_credentials(agency),
                    api_url=settings.ULTRAVOX_API_URL,
                    timeout=settings.ULTRAVOX_TIMEOUT,
                    deadline=deadline,
                )
            except ServiceError as error:
                messages.error(request, f"{agency}: {error.message}")
                if isinstance(error, KeyRejected):
                    record_key_check(agency, works=False)
                elif isinstance(error, UltravoxError):
                    return
            else:
                messages.success(request, f"{agency}: the key works.")
                record_key_check(agency, works=True)

    def save_model(self, request: HttpRequest, obj: Agency, form: Any, change: bool) -> None:
        if form.cleaned_data["new_key"]:
            obj.ultravox_api_key = form.cleaned_data["new_key"]
        elif form.cleaned_data["remove_key"]:
            obj.ultravox_api_key = ""
        super().save_model(request, obj, form, change)


class NewUserForm(AdminUserCreationForm):
    supabase_id = forms.UUIDField(
        label="Supabase ID",
        required=False,
        help_text="The user's ID in Supabase Auth. Required if the user signs in with Supabase.",
    )

    def clean_supabase_id(self) -> Any:
        supabase_id = self.cleaned_data["supabase_id"]
        if supabase_id and User.objects.filter(pk=supabase_id).exists():
            raise forms.ValidationError("A user with this ID already exists.")
        return supabase_id


PERMISSION_FIELDS = ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    """Only superusers grant permissions and change superusers. Otherwise staff could promote themselves."""

    list_display = ("email", "agency", "is_active", "is_staff", "last_login")
    list_filter = ("is_active", "is_staff", "agency")
    list_select_related = ("agency",)
    search_fields = ("email", "id")
    ordering = ("email",)
    readonly_fields = ("id", "last_login", "date_joined")
    autocomplete_fields = ("agency",)
    fieldsets = (
        (None, {"fields": ("id", "email", "password", "agency")}),
        ("Permissions", {"fields": PERMISSION_FIELDS}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_form = NewUserForm
    new_fields = ("email", "agency", "supabase_id", "usable_password", "password1", "password2")
    add_fieldsets = ((None, {"fields": new_fields}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.readonly_fields + (() if request.user.is_superuser else PERMISSION_FIELDS)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        obj.pk = form.cleaned_data.get("supabase_id") or obj.pk
        super().save_model(request, obj, form, change)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _can_edit(request, obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _can_edit(request, obj) and super().has_delete_permission(request, obj)


def _can_edit(request: HttpRequest, user: User | None) -> bool:
    return request.user.is_superuser or user is None or not user.is_superuser


admin.site.unregister([AccessAttempt, AccessLog, AccessFailureLog, Group])


@admin.register(AccessAttempt)
class FailedLoginsAdmin(AccessAttemptAdmin):
    list_display = ("username", "ip_address", "attempt_time", "failures_since_start", "status")
    list_filter = (IsLockedOutFilter,)
    actions = ()  # axes's actions fail


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin):
    """Only superusers change groups. Otherwise staff could add permissions to their own group."""

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return request.user.is_superuser

    has_add_permission = has_delete_permission = has_change_permission
