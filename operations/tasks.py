import logging

import operations.prune
from voiceproject.celery import app

logger = logging.getLogger(__name__)


@app.task(name="operations.prune")
def prune() -> None:
    """Remove old data."""
    logger.info(operations.prune.summary(operations.prune.prune()))
