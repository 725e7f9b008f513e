"""Outbound HTTP to addresses that users gave: checked at the socket, bounded, redirects followed by hand."""

from broker.egress.answer import Answer, FetchError, shown
from broker.egress.client import Egress, Reply
from broker.egress.policy import INPUT_SCHEMES, EgressPolicy, is_public

__all__ = ["INPUT_SCHEMES", "Answer", "Egress", "EgressPolicy", "FetchError", "Reply", "is_public", "shown"]
