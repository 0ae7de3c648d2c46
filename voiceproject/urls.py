"""All addresses. API addresses work with and without the trailing slash, and never redirect."""

from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import URLPattern, path, re_path
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView, TemplateView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from agencies.views import RefreshView, TokenView
from voiceproject import errors
from voiceproject.http.errors import error_view
from voices.api import previews, views

admin.autodiscover()

VOICE = r"api/voices/(?P<voice_id>[^/\0]+)"

sync_view = views.SyncVoicesView.as_view()
not_found = csrf_exempt(error_view(errors.NotFound))
to_admin = RedirectView.as_view(pattern_name="admin:index")
library = never_cache(login_required(TemplateView.as_view(template_name="voices/library.html")))
login = LoginView.as_view(template_name="voices/login.html")


def _route(address: str, view: object, **names: str) -> URLPattern:
    return re_path(rf"^{address}/?\Z", view, **names)  # type: ignore[call-overload]


urlpatterns = [
    _route("functions/v1/voices-sync", sync_view, name="voices-sync"),
    _route("api/voices/sync", sync_view, name="sync-voices"),
    _route("functions/v1/voices-list", views.VoicesListView.as_view(), name="voices-list"),
    _route("api/voices", views.VoicesView.as_view(), name="voices"),
    _route(rf"{VOICE}/preview", previews.PreviewView.as_view(), name="voice-preview"),
    _route(VOICE, views.VoiceView.as_view(), name="voice"),
    _route("api/sync-runs", views.RunsView.as_view(), name="sync-runs"),
    _route("api/sync-runs/(?P<run_id>[0-9]{1,18})", views.RunView.as_view(), name="sync-run"),
    _route("api/token", TokenView.as_view(), name="token"),
    _route("api/token/refresh", RefreshView.as_view(), name="token-refresh"),
    _route("api/schema", SpectacularAPIView.as_view(), name="schema"),
    _route("api/docs", SpectacularSwaggerSplitView.as_view(), name="docs"),
    re_path("^admin/r/", not_found),  # "view on site": no model has a page
    path("admin/", admin.site.urls),
    path("admin", to_admin),
    path("login/", login, name="login"),
    path("login", login),
    path("logout/", LogoutView.as_view(next_page="login"), name="logout"),
    path("", library, name="library"),
    re_path("", not_found),  # JSON also with DJANGO_DEBUG
]
handler400 = error_view(errors.InvalidRequest)
handler403 = error_view(errors.PermissionDenied)
handler404 = error_view(errors.NotFound)
handler500 = error_view(errors.ServiceError)
