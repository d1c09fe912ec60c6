/* knock_pump.h: a pump that is not transparent, as TLS will be: bytes are changed on the wire, and nothing but a knock
 * goes out before the other side has knocked. */
#pragma once

#include "rpc/pump.h"

struct rpc_pump *knock_pump_make(void *context, bool accepts); /* context: an atomic_int, how many there are */
