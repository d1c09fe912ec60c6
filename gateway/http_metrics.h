/* http_metrics.h: lines in the text format of Prometheus. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

/* Before the values of a name. type: gauge, counter, histogram. */
void metric_begin(struct bytes *to, const char *name, const char *type, const char *help);
void metric_print(struct bytes *to, const char *format, ...) PRINTF_LIKE(2, 3);
