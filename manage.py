#!/usr/bin/env python
"""Django's command line, set to this project."""

import gc
import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceproject.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"manage.py: {error}")
    finally:
        gc.freeze()  # the process ends: a last search for garbage would only cost time


if __name__ == "__main__":
    main()
