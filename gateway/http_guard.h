/* http_guard.h: who may ask, and for what. Nobody has a name here: there are no certificates in HTTP yet, so that
 *
 *   - what changes nodes (crash, partition, ...) is for callers on this machine, unless --http-admin says otherwise;
 *   - pages of other sites, which a browser on this machine may show, must not use it in our user's place: what changes
 *     anything is refused when it comes from another origin, and what changes nodes needs a header that a page can send
 *     only to its own origin;
 *   - nor may they read it by a name of theirs that leads here (DNS rebinding): the name in Host has to be an address,
 *     localhost, or one that we know. */
#pragma once

#include "gateway/http.h"

#define HTTP_GUARD_HEADER "X-SurfFS-Request"

/* False: it has been answered. */
bool http_guard_allows(struct http_request *r);
/* Whether this caller may change nodes, for pages that don't show what can't be done. */
bool http_guard_is_admin(struct http_request *r);
