from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from voices import runs
from voices.admin.read_only import ReadOnlyAdmin
from voices.models import SyncRun


@admin.register(SyncRun)
class SyncRunAdmin(ReadOnlyAdmin):
    list_display = ("started_at", "started_by", "agency", "outcome", "seconds", "voices_stored")
    list_filter = ("status", "trigger", "agency")
    list_select_related = ("agency", "user")
    date_hierarchy = "started_at"
    fields = (
        ("trigger", "agency", "user"),
        ("started_at", "finished_at", "seconds"),
        ("pages", "synced", "skipped"),
        ("current_status", "error_code", "error_message"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[SyncRun]:
        return super().get_queryset(request).annotate(dead=runs.is_dead())

    @admin.display(description="status")
    def current_status(self, run: SyncRun) -> str:
        return SyncRun.Status(runs.status_of(run)).label

    @admin.display(description="outcome")
    def outcome(self, run: SyncRun) -> str:
        status = self.current_status(run)
        return f"{status}: {run.error_message}" if run.error_message else status

    @admin.display(description="started by")
    def started_by(self, run: SyncRun) -> str:
        trigger = SyncRun.Trigger(run.trigger).label
        return f"{run.user} ({trigger.lower()})" if run.user else trigger

    @admin.display(description="seconds")
    def seconds(self, run: SyncRun) -> str | None:
        if run.finished_at is None:
            return None
        return f"{(run.finished_at - run.started_at).total_seconds():.1f}"

    @admin.display(description="voices")
    def voices_stored(self, run: SyncRun) -> str:
        return f"{run.synced} ({run.skipped} skipped)" if run.skipped else str(run.synced)
