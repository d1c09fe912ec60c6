foreach(noun extent rows names check contents clone inline sessions exports durability damage snapshot describe locks lock_model xattr acl epoch kv kv_model rewrite files written recent level replicas)
    surf_test(unit_meta_${noun} SOURCES test_${noun}.c commands.c steps.c USES meta_fixture surf_meta surf_base
              PkgConfig::ROCKSDB)
endforeach()
