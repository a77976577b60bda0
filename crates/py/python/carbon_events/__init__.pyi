# The public names of `carbon_events`.
from . import errors as errors
from . import events as events
from ._consumer import AsyncEventConsumer as AsyncEventConsumer
from ._consumer import EventConsumer as EventConsumer
from ._native import Deliveries as Deliveries
from ._native import Delivery as Delivery
from ._native import DeliveryReport as DeliveryReport
from ._native import Record as Record
from ._native import __version__ as __version__
from ._producer import AsyncEventProducer as AsyncEventProducer
from ._producer import EventProducer as EventProducer
from .errors import *
from .events import *
