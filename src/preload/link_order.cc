#include "preload/link_order.h"

#include <link.h>

#pragma weak _r_debug

namespace pmemfile::preload {

void go_to_end_of_list() {
  link_map* own = &_r_debug == nullptr ? nullptr : _r_debug.r_map;
  while (own != nullptr && own->l_ld != _DYNAMIC) own = own->l_next;
  if (own == nullptr || own->l_prev == nullptr || own->l_next == nullptr) return;
  link_map* last = own->l_next;
  while (last->l_next != nullptr) last = last->l_next;
  own->l_prev->l_next = own->l_next;
  own->l_next->l_prev = own->l_prev;
  last->l_next = own;
  own->l_prev = last;
  own->l_next = nullptr;
}

} // namespace pmemfile::preload
