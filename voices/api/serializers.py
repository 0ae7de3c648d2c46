from rest_framework import serializers

from voiceproject.schema import always


class StatsSerializer(serializers.Serializer):
    synced = serializers.IntegerField(help_text="Distinct voices stored.")
    skipped = serializers.IntegerField(
        required=False, help_text="Records that could not be stored; left out where there are none."
    )


class SyncedSerializer(serializers.Serializer):
    success = always(True)
    message = serializers.CharField()
    stats = StatsSerializer()
