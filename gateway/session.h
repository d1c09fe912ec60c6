/* session.h: the gateways' session with the cluster: one for all of them, opened when the first request needs it.
 * Thread-safe. */
#pragma once

#include "client/surf.h"
#include "client/survey/asker.h"
#include "gateway/gateway.h"

struct gateway_session;

struct gateway_session *gateway_session_new(const struct gateway_options *options);
/* Nobody may be using it any more. */
void gateway_session_free(struct gateway_session *s);

/* The open session, for as long as the gateway is open. Waits at most GATEWAY_PATIENCE_NS: TIMEOUT with why; what can't
 * be opened now is tried again by the next caller. CANCELLED while it is being closed. */
enum err gateway_session_get(struct gateway_session *s, struct surf **ret, struct err_text *why) MUST_USE;
/* For the calls that are made with it: fired when the gateways are to end. */
struct rpc_cancel *gateway_session_cancel(struct gateway_session *s);
void gateway_session_stop(struct gateway_session *s);

/* An asker of this node, and of the members that are known besides; the arena is the caller's. */
struct asker gateway_session_asker(const struct gateway_session *s, struct arena *arena);
const struct gateway_options *gateway_session_options(const struct gateway_session *s);
