from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers


class StatsSerializer(serializers.Serializer):
    synced = serializers.IntegerField(help_text="Distinct voices stored.")
    skipped = serializers.IntegerField(
        required=False, help_text="Records that could not be stored; left out where there are none."
    )


@extend_schema_field({"type": "boolean", "enum": [True]})
class SuccessField(serializers.BooleanField):
    pass


class SyncedSerializer(serializers.Serializer):
    success = SuccessField()
    message = serializers.CharField()
    stats = StatsSerializer()
