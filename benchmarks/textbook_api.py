"""Settings for a textbook list of the same voices, beside the project's addresses on the same server.

Django REST framework and django-filter as their documentations show them: a ModelViewSet, a
ModelSerializer, filters, a search by `icontains`, an ordering and pages. No facets; who sees what, links and
ETags are not its business either. Who calls is found out in the same way.
"""

from voiceproject.settings import *  # noqa: F403
from voiceproject.settings import INSTALLED_APPS

INSTALLED_APPS += ["django_filters"]
ROOT_URLCONF = "benchmarks.textbook_urls"
