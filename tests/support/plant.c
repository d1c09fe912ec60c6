#include "base/plant.h"

#ifdef SURF_PLANTS
enum plant plant_chosen;
#endif
