import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.avro.Schema;
import org.apache.avro.SchemaNormalization;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.Utils;

/**
 * Reads and writes our topics with the Java client and Avro for Java, which share no code with ours.
 *
 * <pre>
 * Interop read BOOTSTRAP REGISTRY SCHEMAS TOPIC COUNT [READER_SCHEMA]
 * Interop write BOOTSTRAP REGISTRY SCHEMAS
 * Interop partitions COUNT
 * </pre>
 *
 * {@code read} prints COUNT records of a topic from its beginning, {@code write} takes records and
 * prints where each of them is; one JSON object a line, the same as in tests/python/interop.py.
 * {@code partitions} takes keys, a JSON string a line, and prints the partition of each. SCHEMAS is
 * the directory of the .avsc files, for single-object encoding and for records that bring no schema.
 */
public final class Interop {
    private static final Duration DEADLINE = Duration.ofSeconds(60);
    private static final ObjectMapper JSON = new ObjectMapper();

    private final String bootstrap;
    private final Registry registry;
    /** By record name, as {@code eventType} has it. */
    private final Map<String, Schema> schemas = new HashMap<>();

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        switch (args[0]) {
            case "read":
                Schema reader = args.length > 6 ? Registry.parse(args[6]) : null;
                new Interop(args).read(args[4], Integer.parseInt(args[5]), reader, out);
                break;
            case "write":
                new Interop(args).write(out);
                break;
            case "partitions":
                partitions(Integer.parseInt(args[1]), out);
                break;
            default:
                throw new IllegalArgumentException("unknown command " + args[0]);
        }
        out.flush();
    }

    private Interop(String[] args) throws IOException {
        bootstrap = args[1];
        registry = new Registry(args[2]);
        try (DirectoryStream<Path> files = Files.newDirectoryStream(Path.of(args[3]), "*.avsc")) {
            for (Path file : files) {
                Schema schema = Registry.parse(Files.readString(file));
                schemas.put(schema.getName(), schema);
            }
        }
    }

    /** What the Java client's partitioner does with a key when the caller names no partition. */
    private static void partitions(int count, PrintStream out) throws IOException {
        for (String line : lines()) {
            byte[] key = JSON.readTree(line).textValue().getBytes(StandardCharsets.UTF_8);
            out.println(Utils.toPositive(Utils.murmur2(key)) % count);
        }
    }

    private void read(String topic, int count, Schema reader, PrintStream out) throws Exception {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", bootstrap);
        config.put("isolation.level", "read_committed");
        try (var consumer = new KafkaConsumer<byte[], byte[]>(
                config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = new ArrayList<>();
            consumer.partitionsFor(topic)
                    .forEach(info -> partitions.add(new TopicPartition(topic, info.partition())));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Instant end = Instant.now().plus(DEADLINE);
            int seen = 0;
            while (seen < count) {
                if (Instant.now().isAfter(end)) {
                    throw new IllegalStateException(
                            "only " + seen + " of " + count + " records in " + topic);
                }
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    out.println(JSON.writeValueAsString(describe(record, reader)));
                    seen++;
                }
            }
        }
    }

    private ObjectNode describe(ConsumerRecord<byte[], byte[]> record, Schema reader)
            throws Exception {
        ObjectNode line = JsonNodeFactory.instance.objectNode();
        line.put("partition", record.partition());
        line.put("offset", record.offset());
        line.put("key", record.key() == null ? null : new String(record.key(), StandardCharsets.UTF_8));
        ObjectNode headers = line.putObject("headers");
        for (Header header : record.headers()) {
            headers.put(header.key(), new String(header.value(), StandardCharsets.UTF_8));
        }
        ByteBuffer value = ByteBuffer.wrap(record.value());
        if (value.get(0) == 0) {
            int id = value.getInt(1);
            line.put("format", "confluent");
            line.put("schemaId", id);
            line.set("event", decode(registry.schema(id), reader, record.value(), 5));
        } else if (value.getShort(0) == (short) 0xC301) {
            long fingerprint = value.order(ByteOrder.LITTLE_ENDIAN).getLong(2);
            line.put("format", "single-object");
            line.set("event", decode(byFingerprint(fingerprint), reader, record.value(), 10));
        } else {
            line.put("format", "json");
            line.set("event", JSON.readTree(record.value()));
        }
        return line;
    }

    private Schema byFingerprint(long fingerprint) {
        return schemas.values().stream()
                .filter(schema -> SchemaNormalization.parsingFingerprint64(schema) == fingerprint)
                .findFirst()
                .orElseThrow(() -> new IllegalStateException(
                        "no schema has the fingerprint " + Long.toHexString(fingerprint)));
    }

    private static JsonNode decode(Schema writer, Schema reader, byte[] value, int start)
            throws IOException {
        BinaryDecoder decoder =
                DecoderFactory.get().binaryDecoder(value, start, value.length - start, null);
        Schema expected = reader == null ? writer : reader;
        Object event = new GenericDatumReader<Object>(writer, expected).read(null, decoder);
        if (!decoder.isEnd()) {
            throw new IOException("bytes are left after the event");
        }
        return toJson(event);
    }

    private void write(PrintStream out) throws Exception {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", bootstrap);
        List<Future<RecordMetadata>> deliveries = new ArrayList<>();
        try (var producer = new KafkaProducer<byte[], byte[]>(
                config, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (String text : lines()) {
                JsonNode line = JSON.readTree(text);
                String topic = line.get("topic").textValue();
                byte[] key = line.path("key").isTextual()
                        ? line.get("key").textValue().getBytes(StandardCharsets.UTF_8)
                        : null;
                deliveries.add(producer.send(new ProducerRecord<>(topic, key, encode(topic, line))));
            }
        }
        for (Future<RecordMetadata> delivery : deliveries) {
            ObjectNode line = JsonNodeFactory.instance.objectNode();
            line.put("partition", delivery.get().partition());
            line.put("offset", delivery.get().offset());
            out.println(JSON.writeValueAsString(line));
        }
    }

    private byte[] encode(String topic, JsonNode line) throws Exception {
        JsonNode event = line.get("event");
        if (line.get("format").textValue().equals("json")) {
            return JSON.writeValueAsBytes(event);
        }
        Schema schema = line.path("schema").isObject()
                ? Registry.parse(JSON.writeValueAsString(line.get("schema")))
                : schemas.get(event.get("eventType").textValue());
        ByteArrayOutputStream value = new ByteArrayOutputStream();
        if (line.get("format").textValue().equals("confluent")) {
            int id = registry.register(topic + "-value", schema);
            value.write(ByteBuffer.allocate(5).put((byte) 0).putInt(id).array());
        } else {
            long fingerprint = SchemaNormalization.parsingFingerprint64(schema);
            value.write(ByteBuffer.allocate(10).put((byte) 0xC3).put((byte) 1)
                    .order(ByteOrder.LITTLE_ENDIAN).putLong(fingerprint).array());
        }
        BinaryEncoder encoder = EncoderFactory.get().binaryEncoder(value, null);
        new GenericDatumWriter<Object>(schema).write(toAvro(schema, event), encoder);
        encoder.flush();
        return value.toByteArray();
    }

    private static Object toAvro(Schema schema, JsonNode json) {
        switch (schema.getType()) {
            case RECORD:
                GenericData.Record record = new GenericData.Record(schema);
                for (Schema.Field field : schema.getFields()) {
                    record.put(field.pos(), json.has(field.name())
                            ? toAvro(field.schema(), json.get(field.name()))
                            : GenericData.get().getDefaultValue(field));
                }
                return record;
            case UNION:
                return json.isNull() ? null : toAvro(schema.getTypes().get(1), json);
            case ENUM:
                return new GenericData.EnumSymbol(schema, json.textValue());
            case MAP:
                Map<String, Object> map = new HashMap<>();
                json.properties().forEach(entry ->
                        map.put(entry.getKey(), toAvro(schema.getValueType(), entry.getValue())));
                return map;
            case ARRAY:
                List<Object> list = new ArrayList<>();
                json.forEach(item -> list.add(toAvro(schema.getElementType(), item)));
                return list;
            case STRING:
                return json.textValue();
            case INT:
                return json.intValue();
            case LONG:
                return json.longValue();
            case DOUBLE:
                return json.doubleValue();
            case FLOAT:
                return json.floatValue();
            case BOOLEAN:
                return json.booleanValue();
            default:
                throw new IllegalArgumentException("no event has a " + schema.getType());
        }
    }

    private static JsonNode toJson(Object value) {
        if (value instanceof GenericData.Record) {
            GenericData.Record record = (GenericData.Record) value;
            ObjectNode object = JsonNodeFactory.instance.objectNode();
            record.getSchema().getFields()
                    .forEach(field -> object.set(field.name(), toJson(record.get(field.pos()))));
            return object;
        }
        if (value instanceof Map) {
            ObjectNode object = JsonNodeFactory.instance.objectNode();
            ((Map<?, ?>) value).forEach((key, item) -> object.set(key.toString(), toJson(item)));
            return object;
        }
        if (value instanceof List) {
            var array = JsonNodeFactory.instance.arrayNode();
            ((List<?>) value).forEach(item -> array.add(toJson(item)));
            return array;
        }
        if (value instanceof CharSequence || value instanceof GenericData.EnumSymbol) {
            return JsonNodeFactory.instance.textNode(value.toString());
        }
        return JSON.valueToTree(value);
    }

    private static List<String> lines() throws IOException {
        List<String> lines = new ArrayList<>();
        try (BufferedReader reader = new BufferedReader(
                new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
            for (String line = reader.readLine(); line != null; line = reader.readLine()) {
                lines.add(line);
            }
        }
        return lines;
    }

    /** A client of Confluent's REST API, each answer asked for once. */
    private static final class Registry {
        private static final String CONTENT = "application/vnd.schemaregistry.v1+json";

        private final HttpClient http = HttpClient.newHttpClient();
        private final String url;
        private final Map<Integer, Schema> byId = new HashMap<>();
        private final Map<String, Integer> registered = new HashMap<>();

        Registry(String url) {
            this.url = url;
        }

        static Schema parse(String text) {
            return new Schema.Parser().parse(text);
        }

        Schema schema(int id) throws Exception {
            if (!byId.containsKey(id)) {
                HttpRequest.Builder get = HttpRequest.newBuilder(URI.create(url + "/schemas/ids/" + id));
                byId.put(id, parse(send(get).get("schema").textValue()));
            }
            return byId.get(id);
        }

        int register(String subject, Schema schema) throws Exception {
            String known = subject + " " + schema;
            if (!registered.containsKey(known)) {
                String body = JSON.writeValueAsString(Map.of("schema", schema.toString()));
                URI versions = URI.create(url + "/subjects/" + subject + "/versions");
                HttpRequest.Builder post = HttpRequest.newBuilder(versions)
                        .header("Content-Type", CONTENT)
                        .POST(HttpRequest.BodyPublishers.ofString(body));
                registered.put(known, send(post).get("id").intValue());
            }
            return registered.get(known);
        }

        private JsonNode send(HttpRequest.Builder request) throws Exception {
            HttpResponse<String> answer = http.send(
                    request.header("Accept", CONTENT).timeout(DEADLINE).build(),
                    HttpResponse.BodyHandlers.ofString());
            if (answer.statusCode() != 200) {
                throw new IOException("the registry says " + answer.statusCode() + ": " + answer.body());
            }
            return JSON.readTree(answer.body());
        }
    }
}
