"""Images."""

from daytona_native import Image as Image
from daytona_native._image import Context as Context
