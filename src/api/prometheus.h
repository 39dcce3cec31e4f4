// The Prometheus text exposition format.
#pragma once

#include "base/str.h"

struct prometheus_label {
    const char *name, *value;
};

// "# HELP" and "# TYPE" of the samples that follow; type: "gauge" or "counter".
void prometheus_family(struct str *out, const char *name, const char *type, const char *help);
// One sample; labels end with a NULL name, or are NULL. Values of labels may be anything.
void prometheus_sample(struct str *out, const char *name, const struct prometheus_label *labels,
                       double value);
