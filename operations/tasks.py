import logging

from operations import prune as pruning
from voiceproject.celery import app

logger = logging.getLogger(__name__)


@app.task(name="operations.prune")
def prune() -> None:
    """Remove what is old."""
    logger.info("Removed %s", pruning.in_words(pruning.prune()))
