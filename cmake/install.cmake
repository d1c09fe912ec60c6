# cmake --install build/release --prefix /usr: programs, the helper that mount(8) runs for `mount -t surffs`, manual pages, a unit
# for systemd (which names /usr/bin).
# mount(8) looks for helpers in /sbin only, which is /usr/sbin on systems of today: with another prefix than /usr it finds none.
include(GNUInstallDirs)
install(TARGETS surfd surfctl surffs RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES docs/surfd.8 docs/surfctl.8 docs/surffs.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)

install(FILES packaging/surfd.service DESTINATION lib/systemd/system)

function(surf_install_link target name destination)
    file(CREATE_LINK ${target} ${PROJECT_BINARY_DIR}/links/${name} SYMBOLIC)
    install(FILES ${PROJECT_BINARY_DIR}/links/${name} DESTINATION ${destination})
endfunction()
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/links)
surf_install_link(../${CMAKE_INSTALL_BINDIR}/surffs mount.surffs ${CMAKE_INSTALL_SBINDIR})
# The kernel knows the mount as fuse.surffs: by this name mount(8) finds the helper again for -o remount.
surf_install_link(../${CMAKE_INSTALL_BINDIR}/surffs mount.fuse.surffs ${CMAKE_INSTALL_SBINDIR})
surf_install_link(surffs.8 mount.surffs.8 ${CMAKE_INSTALL_MANDIR}/man8)
