"""All addresses. API addresses answer with and without a slash at the end, and never redirect."""

from django.contrib import admin
from django.urls import URLPattern, path, re_path
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView

from agencies.views import RefreshView, TokenView
from voiceproject.error_responses import error_view
from voices.api.views import SyncVoicesView

admin.autodiscover()

sync_voices = SyncVoicesView.as_view()
nothing = csrf_exempt(error_view("not_found"))
to_admin = RedirectView.as_view(pattern_name="admin:index")


def _both(address: str, view: object, **names: str) -> URLPattern:
    return re_path(f"^{address}/?$", view, **names)  # type: ignore[call-overload]


urlpatterns = [
    _both("functions/v1/voices-sync", sync_voices, name="voices-sync"),
    _both("api/voices/sync", sync_voices, name="sync-voices"),
    _both("api/token", TokenView.as_view(), name="token"),
    _both("api/token/refresh", RefreshView.as_view(), name="token-refresh"),
    _both("api/schema", SpectacularAPIView.as_view(), name="schema"),
    re_path("^admin/r/", nothing),  # "view on site": nothing of ours has a page there
    path("admin/", admin.site.urls),
    path("admin", to_admin),
    path("", to_admin),
    re_path("", nothing),  # also with DJANGO_DEBUG, whose own page is HTML
]
handler400 = error_view("invalid_request")
handler403 = error_view("permission_denied")
handler404 = error_view("not_found")
handler500 = error_view("internal_error")
